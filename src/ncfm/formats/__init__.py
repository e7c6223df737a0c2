"""External formats: sets in the formats of other programs, written and read.

An export is written atomically, and never replaces files that are not an export.
"""

from ncfm.formats.writing import FORMATS, Exported, Format, export

__all__ = ["FORMATS", "Exported", "Format", "export"]
