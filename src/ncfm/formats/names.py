"""Folder names for classes that are valid on every file system, whatever the classes are called."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

NAME_BYTES = 60  # of a class name in a folder name: file systems allow 255, and path lengths are limited
SPLITS = ("train", "training", "test", "testing", "eval", "evaluation", "valid", "validation", "val", "dev")


def folder_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """A folder name for every class: its index, and the characters of its name that every file system accepts.

    The index comes first and has leading zeros: sorted folders are in the order of the classes, no two are equal on any
    file system, and none is a reserved name. Programs that read image folders interpret ``test`` and the like in a path
    as a split: the folder of a class with such a name is its index alone.

    >>> folder_names(["T-shirt/top", "../x", "test"])
    ('0_T-shirt-top', '1_x', '2')
    """
    digits = len(str(max(len(class_names) - 1, 0)))
    return tuple("_".join(filter(None, (f"{i:0{digits}d}", _plain(name)))) for i, name in enumerate(class_names))


def _plain(name: str) -> str:
    """Letters, digits, - and _ of a name; empty if nothing is left, or a program would interpret it as a split."""
    plain = re.sub(r"[^\w-]+", "-", unicodedata.normalize("NFC", name))
    plain = plain.encode()[:NAME_BYTES].decode(errors="ignore").strip("-_")
    return "" if set(re.split(r"[-_0-9]+", plain.lower())) & set(SPLITS) else plain
