"""Exports by the user's own code: ``module:callable``."""

from __future__ import annotations

from pathlib import Path

from ncfm._utils.checks import NcfmError, RunError
from ncfm._utils.outside import load_callable
from ncfm.formats.content import Content, Format
from ncfm.formats.export_facts import CLASSES_FILE
from ncfm.formats.png import write_index


def outside_format(name: str) -> Format:
    """The format of the user's ``module:callable``, such as ``my_module:write`` for ``def write`` in ``my_module.py``.

    The callable gets the `Content` and the path of an empty folder, and fills the folder. `Content.folder_names` has a
    valid folder name for every class, whatever the class is called. The index of classes, which marks a folder as an
    export, is added afterwards.

    Raises:
        NcfmError: if there is no such callable; on writing, if it fails, writes nothing, or writes the index itself.
    """
    function = load_callable(name, "export")

    def write(content: Content, folder: Path) -> None:
        try:
            function(content, folder)
        except (NcfmError, OSError):  # a full disk is reported as for other exports
            raise
        except Exception as error:  # the user's code may raise anything
            raise RunError(f"The export {name!r} failed: {type(error).__name__}: {error}") from error
        if not any(folder.iterdir()):
            raise RunError(f"The export {name!r} wrote nothing; it gets (content, folder) and fills the folder.")
        if (folder / CLASSES_FILE).exists():
            raise RunError(f"The export {name!r} wrote {CLASSES_FILE}, which ncfm adds; choose another file name.")
        write_index(content, folder)

    return Format(f"a folder, written by {name}", write, bits=(32, 8))
