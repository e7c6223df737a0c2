"""A table of images in a file: its rows, and which of its columns hold images, labels and splits."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ncfm._utils.checks import InputError
from ncfm.data.image_index import ImageIndex
from ncfm.data.raw import IMAGE_COLUMNS, LABEL_COLUMNS

SUFFIXES = {".csv": ",", ".tsv": "\t"}
"""Suffixes of tables, and what separates their columns."""

# Usual names, in lower case without signs; what says more of a file goes first.
NAME_COLUMNS = (
    *("filename", "filepath", "filepaths", "imagepath", "imagefile", "imagename", "imageid", "imgpath", "imgname"),
    *("imgid", "path", "file", *IMAGE_COLUMNS, "name", "id"),
)
CLASS_COLUMNS = (*(name.replace("_", "") for name in LABEL_COLUMNS), "classid", "classname", "labelid", "labelname")
ROW_NUMBERS = ("", "unnamed0")  # as pandas writes them
SPLIT_COLUMNS = ("split", "splits", "set", "subset", "dataset", "partition", "usage")


@dataclass(frozen=True)
class Table:
    """A table and the columns that are read; None: it has no such column, or it is not clear which."""

    path: Path
    columns: tuple[str, ...]
    rows: list[dict[str, str]]
    image_column: str | None
    label_column: str | None
    remarks: tuple[str, ...] = ()  # on what was guessed

    @property
    def name_columns(self) -> list[str]:
        """The columns that are called as if they held names of images, the clearest first."""
        return sorted((name for name in self.columns if _plain(name) in NAME_COLUMNS), key=_rank)

    def groups(self, root: Path) -> dict[str, list[dict[str, str]]]:
        """The rows by the values of a column of splits, or all of them by the path of the table below ``root``."""
        column = next((name for name in self.columns if _plain(name) in SPLIT_COLUMNS), None)
        groups: dict[str, list[dict[str, str]]] = {}
        for row in self.rows:
            key = self.path.relative_to(root).as_posix() if column is None else row[column].strip()
            groups.setdefault(key, []).append(row)
        return groups


def open_table(path: Path, index: ImageIndex, wanted: tuple[str | None, str | None]) -> Table:
    """A table of the images of an index.

    Args:
        path: of the file.
        index: of the images that it may name.
        wanted: columns of images and of labels; None: those with usual names.

    Raises:
        NcfmError: for a file that cannot be read, or several columns that may be the labels.
    """
    columns = _columns(path)
    named = [wanted[0]] if wanted[0] else sorted((c for c in columns if _plain(c) in NAME_COLUMNS), key=_rank)
    rows = _rows(path) if set(named) & set(columns) else []  # tables of other things may be large
    image = next(
        (c for c in named if rows and c in columns and (wanted[0] or any(row[c] in index for row in rows))), None
    )
    if image is None:
        return Table(path, columns, [], None, None)
    label, remarks = _label_column(path, columns, image, wanted[1])
    _check_encoding(path, (row[name] for row in rows for name in (image, label) if name is not None))
    return Table(path, columns, rows, image, label, remarks)


def _columns(path: Path) -> tuple[str, ...]:
    with _open(path) as file:
        return tuple(csv.DictReader(file, delimiter=SUFFIXES[path.suffix.lower()]).fieldnames or ())


def _rows(path: Path) -> list[dict[str, str]]:
    with _open(path) as file:
        reader = csv.DictReader(file, delimiter=SUFFIXES[path.suffix.lower()], restval="")
        return [{name: row[name] for name in reader.fieldnames or ()} for row in reader]


@contextmanager
def _open(path: Path) -> Iterator[IO[str]]:
    """A table as text, whatever its encoding: tables of other things must not stop the reading of images.

    Raises:
        NcfmError: for a file that cannot be read as a table.
    """
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield file
    except (OSError, csv.Error) as error:
        raise InputError(f"Could not read {path} as a table: {error}.") from error


def _check_encoding(path: Path, cells: Iterable[str]) -> None:
    try:
        "".join(cells).encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(f"{path}: expected a table in UTF-8, found other bytes; save it as UTF-8.") from error


def _rank(name: str) -> int:
    """The position of a column among the usual names of those that name images."""
    return NAME_COLUMNS.index(_plain(name))


def _label_column(
    path: Path, columns: tuple[str, ...], image: str, wanted: str | None
) -> tuple[str | None, tuple[str, ...]]:
    """The wanted column if there is one, the one with a usual name, or the only other; with remarks on guesses.

    Raises:
        NcfmError: if several have usual names.
    """
    if wanted is not None:
        return wanted if wanted in columns else None, ()
    others = [name for name in columns if name != image and _plain(name) not in (*SPLIT_COLUMNS, *ROW_NUMBERS)]
    usual = [name for name in others if _plain(name) in CLASS_COLUMNS]
    if len(usual) > 1:
        raise InputError(
            f"{path}: the labels may be column {' or '.join(usual)}; choose one with --label-column NAME "
            f"(columns: {', '.join(columns)})."
        )
    if usual:
        return usual[0], ()
    if len(others) == 1:
        return others[0], (f"column {others[0]} of {path.name} holds the labels (--label-column NAME)",)
    return None, ()


def _plain(name: str) -> str:
    """A name in lower case without signs: ``image_id``, ``Image ID`` and ``imageId`` are one."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
