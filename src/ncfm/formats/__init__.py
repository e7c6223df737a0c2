"""Sets in the forms that other programs read: each written whole or not at all, and never over what is not ours."""

from ncfm.formats.writing import FORMATS, Exported, Format, export

__all__ = ["FORMATS", "Exported", "Format", "export"]
