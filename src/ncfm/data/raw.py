"""What a source hands over: encoded images of one split with their labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from ncfm._utils.checks import NcfmError

Encoded = bytes | Path | np.ndarray
"""One image: the contents of a file, its path, or pixels, (h, w) grey or (h, w, 3) RGB, uint8."""

IMAGE_COLUMNS = ("image", "img", "pixel_values", "picture", "photo")
LABEL_COLUMNS = ("label", "labels", "fine_label", "coarse_label", "class", "target", "category")


@dataclass(frozen=True)
class RawSplit:
    """Encoded images of one split, in the source's order."""

    images: Sequence[Encoded]
    labels: Sequence[int]
    class_names: tuple[str, ...] | None  # None if the source only numbers its classes


Splits = dict[str, RawSplit]
"""The splits of a source by name."""


def find_column(present: Sequence[str], wanted: str | None, guesses: Sequence[str], what: str, place: str) -> str:
    """The wanted column, or the first of the usual names that is there.

    Raises:
        NcfmError: naming the columns there are.
    """
    for name in [wanted] if wanted else guesses:
        if name in present:
            return name
    raise NcfmError(
        f"{place}: expected a column of {what}s named {wanted or ' or '.join(guesses)}, found {', '.join(present)}."
    )


def checked_split(
    cells: Sequence[Encoded],
    labels: Sequence[object],
    label_name: str,
    class_names: tuple[str, ...] | None,
    place: str,
) -> RawSplit:
    """A split of a table; labels may be integers, or names, which are then numbered in sorted order.

    Raises:
        NcfmError: for labels that are neither.
    """
    if labels and all(isinstance(v, str) for v in labels):
        class_names = tuple(sorted({str(v) for v in labels}))
        number = {name: i for i, name in enumerate(class_names)}
        labels = [number[str(v)] for v in labels]
    integers = [v for v in labels if isinstance(v, int)]
    if len(integers) != len(labels):
        raise NcfmError(f"{place}: column {label_name!r} must hold integer class indices, or names, without gaps.")
    return RawSplit(cells, integers, class_names)


class Lazily(Sequence[Encoded]):
    """Images that are read where they are asked for: a sequence of ``count`` of which slices come from a function.

    Args:
        count: number of images.
        read: gives those from a start to a stop.
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
            raise IndexError(at)  # ends a loop over the sequence
        at %= self._count
        return self._read(at, at + 1)[0]


def picked(images: Sequence[Encoded], rows: Sequence[int]) -> Sequence[Encoded]:
    """Some of the images, read where they are asked for."""
    return Lazily(len(rows), lambda start, stop: [images[i] for i in rows[start:stop]])


def encoded_cell(value: object, place: str, row: int) -> Encoded:
    """The encoded image in a cell: raw bytes, or Hugging Face's struct of bytes and path of a file.

    Raises:
        NcfmError: if it holds neither.
    """
    data, file = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
    if isinstance(data, bytes):
        return data
    if data is None and file and Path(file).is_file():
        return Path(file)
    raise NcfmError(f"{place}: row {row} holds no encoded image (expected bytes, got {type(data).__name__}).")
