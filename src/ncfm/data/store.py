"""Storage for decoded images: memory, or a file that is written row by row and then memory-mapped."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ncfm._utils.checks import RunError
from ncfm._utils.files import ROWS_AT_ONCE, cache_dir, map_array, release_pages

NPY_HEADER = 128  # bytes before the data of a .npy file of our shapes
HELD_BYTES = 2**30  # images that are not cached are held in memory up to this many bytes


class Rows(Protocol):
    """Storage for decoded images, filled row by row: `MemoryRows` or an `ArrayFile`."""

    def put(self, row: int, values: np.ndarray) -> None:
        """Store one image (c, s, s)."""
        ...

    def close(self, rows: Sequence[int] | None = None) -> Tensor:
        """All images, or those of the given rows (ascending)."""
        ...

    def discard(self) -> None:
        """Discard the images."""
        ...


class MemoryRows:
    """Decoded images in memory."""

    def __init__(self, shape: Sequence[int]) -> None:
        self._array = np.empty(shape, dtype=np.uint8)

    def put(self, row: int, values: np.ndarray) -> None:
        """Store one image."""
        self._array[row] = values

    def close(self, rows: Sequence[int] | None = None) -> Tensor:
        """All images, or those of the given rows."""
        if rows is None or len(rows) == len(self._array):
            return torch.from_numpy(self._array)  # not copied
        return torch.from_numpy(self._array[list(rows)])

    def discard(self) -> None:
        """Nothing to clean up."""


class ArrayFile:
    """A uint8 array (n, ...) that is written to a ``.npy`` file row by row, in any order.

    Args:
        path: of the file.
        shape: (n, ...); `close` may drop rows.

    Raises:
        RunError: (all methods) if the disk is full or the folder cannot be written.
    """

    def __init__(self, path: Path, shape: Sequence[int]) -> None:
        self.path, self.shape = path, tuple(shape)
        self._row_bytes, self._lock = math.prod(self.shape[1:]), threading.Lock()
        with _writing_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w+b")

    def put(self, row: int, values: np.ndarray) -> None:
        """Write one row; thread-safe."""
        with _writing_to(self.path), self._lock:
            self._file.seek(NPY_HEADER + row * self._row_bytes)
            self._file.write(values.tobytes())

    def close(self, rows: Sequence[int] | None = None) -> Tensor:
        """Finish the file with the given rows (ascending; default: all), and memory-map it."""
        if rows is not None and len(rows) < self.shape[0]:
            for to, row in enumerate(rows):
                if to != row:
                    self._file.seek(NPY_HEADER + row * self._row_bytes)
                    self.put(to, np.frombuffer(self._file.read(self._row_bytes), np.uint8))
            self.shape = (len(rows), *self.shape[1:])
        with _writing_to(self.path):
            self._file.seek(0)
            np.lib.format.write_array_header_1_0(
                self._file, {"descr": "|u1", "fortran_order": False, "shape": self.shape}
            )
            assert self._file.tell() == NPY_HEADER  # padded by the format; our shapes are short
            self._file.truncate(NPY_HEADER + self.shape[0] * self._row_bytes)
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return map_array(self.path)

    def discard(self) -> None:
        """Remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)


class UnnamedFile(ArrayFile):
    """An array in a temporary file that disappears with its last mapping."""

    def __init__(self, folder: Path, shape: Sequence[int]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, suffix=".npy")
        os.close(handle)
        super().__init__(Path(name), shape)

    def close(self, rows: Sequence[int] | None = None) -> Tensor:
        """Finish and memory-map the file, then unlink it: the mapping keeps its content."""
        try:
            return super().close(rows)
        finally:
            self.path.unlink(missing_ok=True)


NewRows = Callable[[Sequence[int]], Rows]
"""Creates the storage for images of a shape (n, c, s, s)."""


def in_memory(split: str) -> NewRows:
    """Storage in memory."""
    return MemoryRows


def beyond_memory(split: str) -> NewRows:
    """Storage in memory, or in an unnamed file for more than `HELD_BYTES`."""

    def rows(shape: Sequence[int]) -> Rows:
        if math.prod(shape) <= HELD_BYTES:
            return MemoryRows(shape)
        return UnnamedFile(cache_dir() / "images", shape)

    return rows


def take(images: Tensor, positions: Tensor) -> Tensor:
    """Images at the given positions, in memory or, for more than `HELD_BYTES`, in an unnamed file."""
    rows = beyond_memory("")((len(positions), *images.shape[1:]))
    if isinstance(rows, MemoryRows):
        return images[positions]
    try:
        for start in range(0, len(positions), ROWS_AT_ONCE):
            for row, image in enumerate(images[positions[start : start + ROWS_AT_ONCE]].cpu().numpy(), start):
                rows.put(row, image)
            release_pages()
        return rows.close()
    except BaseException:
        rows.discard()
        raise


@contextlib.contextmanager
def _writing_to(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"Could not write {path}: {error}.") from error
