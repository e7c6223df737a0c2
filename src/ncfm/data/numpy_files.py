"""Arrays in ``.npy`` and ``.npz`` files.

No object in a file is loaded, since that could run code, and no memory is allocated for more than the file holds.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from ncfm._utils.checks import InputError

LARGEST = 2**34  # bytes of an array: 16 GiB


class NotNumbers(InputError):
    """An array of Python objects, which is not loaded."""


def names_in(path: Path) -> list[str]:
    """The arrays in a ``.npz`` file.

    Raises:
        InputError: if it is damaged.
    """
    with _reading(str(path)), zipfile.ZipFile(path) as archive:
        return [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]


def read_member(path: Path, key: str) -> np.ndarray:
    """One array of a ``.npz`` file.

    Raises:
        InputError: for a damaged file, or one that claims more bytes than it or `LARGEST` allows.
        NotNumbers: for objects.
    """
    place = f"{key!r} of {path}"
    with _reading(place), zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{key}.npy")
        with archive.open(info) as file:
            _check_header(file, info.file_size, place)
        with archive.open(info) as file:
            return _array(file)


def read_npy(path: Path) -> np.ndarray:
    """The array of a ``.npy`` file.

    Raises:
        InputError: as `read_member`.
    """
    with _reading(str(path)), path.open("rb") as file:
        _check_header(file, path.stat().st_size, str(path))
        file.seek(0)
        return _array(file)


@contextlib.contextmanager
def _reading(place: str) -> Iterator[None]:
    """Errors of damaged files as one sentence."""
    try:
        yield
    except (InputError, MemoryError):
        raise
    except Exception as error:  # headers are parsed as Python, archives may be damaged anywhere
        raise InputError(f"Could not read {place}: {str(error) or type(error).__name__}.") from error


def _check_header(file: IO[bytes], size: int, place: str) -> None:
    """Check what an array claims to be, before memory is allocated for it."""
    if file.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
        raise InputError(f"Could not read {place}: it is not a NumPy array, and other objects are not loaded.")
    file.seek(0)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise NotNumbers(
            f"Could not read {place}: it holds Python objects, which could run code; arrays of objects are not loaded. "
            "Save numbers (array.astype('float32')), or names as text (array.astype(str))."
        )
    if math.prod(shape) * dtype.itemsize > min(LARGEST, size):
        raise InputError(f"{place} claims {shape} values, more than there are or 16 GiB; refused.")


def _array(file: IO[bytes]) -> np.ndarray:
    found: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    return found
