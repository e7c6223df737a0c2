"""External formats: sets in the formats of other programs, written and read.

An export is written atomically, and never replaces files that are not an export.
"""

from ncfm.formats.content import Content, Format
from ncfm.formats.hub import push_to_hub
from ncfm.formats.writing import FORMATS, Exported, export, find_format

__all__ = ["FORMATS", "Content", "Exported", "Format", "export", "find_format", "push_to_hub"]
