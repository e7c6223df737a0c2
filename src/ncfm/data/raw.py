"""Encoded images of one split with their labels, as a source provides them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, overload

import numpy as np
from PIL import Image

from ncfm._utils.checks import InputError
from ncfm.data.one_class import check_one_class
from ncfm.data.split_names import shortened

Encoded = bytes | Path | np.ndarray | Image.Image
"""One image: the contents of a file, its path, pixels, (h, w) grey or (h, w, c), uint8, or a Pillow image."""

IMAGE_COLUMNS = ("image", "images", "img", "pixel_values", "picture", "photo")
LABEL_COLUMNS = ("label", "labels", "fine_label", "coarse_label", "class", "target", "category")


@dataclass(frozen=True)
class RawSplit:
    """Encoded images of one split, in the source's order."""

    images: Sequence[Encoded]
    labels: Sequence[int]
    class_names: tuple[str, ...] | None  # None if the source only numbers its classes
    remarks: tuple[str, ...] = ()  # what the source left unread beside it


Splits = dict[str, RawSplit]
"""The splits of a source by name."""


def find_column(present: Sequence[str], wanted: str | None, guesses: Sequence[str], what: str, place: str) -> str:
    """The wanted column, or the first of the usual names that exists.

    Raises:
        NcfmError: with the names of the existing columns.
    """
    for name in [wanted] if wanted else guesses:
        if name in present:
            return name
    columns = shortened([*map(str, present)], 20)
    raise InputError(
        f"{place}: no {what} column named {wanted or ' or '.join(guesses)} (columns: {columns}); rename it to "
        f"{wanted or guesses[0]}, or choose one with --{what}-column NAME."
    )


class Columns(NamedTuple):
    """The columns of a table that are read."""

    image: str
    label: str
    remarks: tuple[str, ...]  # on what was guessed


def find_columns(present: Sequence[str], columns: tuple[str | None, str | None], place: str) -> Columns:
    """The image and the label column of a table: the wanted ones, or those with the usual names.

    Raises:
        NcfmError: with the names of the existing columns.
    """
    image = find_column(present, columns[0], IMAGE_COLUMNS, "image", place)
    label = find_column(present, columns[1], LABEL_COLUMNS, "label", place)
    remarks = []
    for what, wanted, taken, guesses in (
        ("image", columns[0], image, IMAGE_COLUMNS),
        ("label", columns[1], label, LABEL_COLUMNS),
    ):
        others = [name for name in guesses if name in present and name != taken]
        if wanted is None and others:
            remarks.append(
                f"column {taken} holds the {what}s, {', '.join(others)} is left unread (--{what}-column NAME)"
            )
    return Columns(image, label, tuple(remarks))


def checked_split(
    cells: Sequence[Encoded],
    labels: Sequence[object],
    label_name: str,
    class_names: tuple[str, ...] | None,
    place: str,
) -> RawSplit:
    """A split of a table. Labels are integers, or names, which are numbered in sorted order.

    Raises:
        NcfmError: for labels that are neither, missing, or lists of several classes.
    """
    check_one_class(labels, f"{place}, column {label_name!r}")
    missing = [row for row, label in enumerate(labels) if label is None]
    if missing:
        raise InputError(
            f"{place}: {len(missing):,} of {len(labels):,} rows have no {label_name} (row "
            f"{shortened([str(row) for row in missing])}, from 0); remove them."
        )
    if labels and all(isinstance(v, str) for v in labels):
        class_names = tuple(sorted({str(v) for v in labels}))
        number = {name: i for i, name in enumerate(class_names)}
        labels = [number[str(v)] for v in labels]
    integers = [v for v in labels if isinstance(v, int)]
    if len(integers) != len(labels):
        row = next(i for i, v in enumerate(labels) if not isinstance(v, int))
        raise InputError(
            f"{place}: column {label_name!r} must hold integer class indices, or names, got "
            f"{str(labels[row])[:40]!r} ({type(labels[row]).__name__}) in row {row}."
        )
    return RawSplit(cells, integers, class_names)


class LazyImages(Sequence[Encoded]):
    """A sequence of images that are read on access.

    Args:
        count: number of images.
        read: returns the images from a start to a stop.
    """

    def __init__(self, count: int, read: Callable[[int, int], Sequence[Encoded]]) -> None:
        self._count, self._read = count, read

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, at: int) -> Encoded: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Encoded]: ...

    def __getitem__(self, at: int | slice) -> Encoded | Sequence[Encoded]:
        if isinstance(at, slice):
            start, stop, step = at.indices(self._count)
            return self._read(start, stop)[::step]
        if not -self._count <= at < self._count:
            raise IndexError(at)  # ends iteration
        at %= self._count
        return self._read(at, at + 1)[0]


def select_rows(images: Sequence[Encoded], rows: Sequence[int]) -> Sequence[Encoded]:
    """Some of the images, read on access."""
    return LazyImages(len(rows), lambda start, stop: [images[i] for i in rows[start:stop]])


def encoded_cell(value: object, place: str, row: int) -> Encoded:
    """The encoded image in a cell: bytes, or Hugging Face's struct of bytes and file path.

    An empty cell gives no bytes, and a file may be missing: decoding reports both as unreadable, with all others.

    Raises:
        NcfmError: if the cell holds something else.
    """
    data, file = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(data, bytes):
        return data
    if data is None and (file is None or isinstance(file, str)):
        return Path(file) if file else b""
    raise InputError(f"{place}: row {row} holds no encoded image (expected bytes, got {type(data).__name__}).")
