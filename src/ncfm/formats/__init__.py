"""External formats: distilled datasets read and written for other programs."""

from ncfm.formats.writing import FORMATS, Exported, Format, export

__all__ = ["FORMATS", "Exported", "Format", "export"]
