"""Sets in the forms that other programs read: each written whole or not at all, and never over what is not ours."""

from ncfm.formats.content import Content, Format
from ncfm.formats.writing import FORMATS, Exported, export, find_format

__all__ = ["FORMATS", "Content", "Exported", "Format", "export", "find_format"]
