"""Names of folders for classes: whatever a class is called, one plain name below the export's own folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NAME_BYTES = 60  # of a class name in a folder's; file systems end at 255, and paths add up
SPLITS = ("train", "training", "test", "testing", "eval", "evaluation", "valid", "validation", "val", "dev")


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """A folder for every class: its index, and of its name what any file system takes.

    The index comes first and has leading zeros, so that sorted folders are classes in order, no two are equal on any
    file system, and none is a reserved name. Programs that read image folders take a part of a path such as ``test``
    for a split: classes called so have their index alone.

    >>> folder_names(["T-shirt/top", "../x", "test"])
    ('0_T-shirt-top', '1_x', '2')
    """
    digits = len(str(max(len(class_names) - 1, 0)))
    return tuple("_".join(filter(None, (f"{i:0{digits}d}", _plain(name)))) for i, name in enumerate(class_names))


def _plain(name: str) -> str:
    """Letters, digits, - and _ of a name; empty if nothing is left, or a program would read a split."""
    plain = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", name))
    plain = plain.encode()[:NAME_BYTES].decode(errors="ignore").strip("-_")
    return "" if set(re.split(r"[-_0-9]+", plain.lower())) & set(SPLITS) else plain
