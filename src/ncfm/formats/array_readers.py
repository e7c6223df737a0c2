"""The content of files of arrays. No code in a file is run."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncfm._utils.checks import InputError, RunError
from ncfm._utils.files import read_tensors
from ncfm._utils.tensors import NUMBERS, as_tensor, in_words
from ncfm.data.numpy_files import NotNumbers, names_in, read_member, read_npy

OTHER_CLASS = re.compile(r"GLOBAL ([\w.]+)")  # in a message of `torch.load`


class Unread(NamedTuple):
    """An array of a file that is not loaded."""

    why: str  # a sentence


def _read_npz(path: Path) -> dict[str, Any]:
    with _as_damage():
        return {key: _member(path, key) for key in names_in(path)}


def _member(path: Path, key: str) -> Any:
    """A tensor, text as a list, or what is not loaded."""
    try:
        array = read_member(path, key)
    except NotNumbers as error:
        return Unread(str(error))
    return array.tolist() if array.dtype.kind == "U" else _tensor(array, f"{path}: {key}")


def _read_npy(path: Path) -> Tensor | Unread:
    with _as_damage():
        return _tensor(read_npy(path), str(path))


def _tensor(array: np.ndarray, where: str) -> Tensor | Unread:
    if array.dtype.kind in NUMBERS:
        return as_tensor(array, where)
    return Unread(f"{where}: expected numbers, got {in_words(array)}; convert them to uint8 or float32.")


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged pickle may raise anything
        raise RunError(
            f"Could not read {path} as plain tensors: {_reason(error)} Files that could run code are not loaded; save "
            "a dictionary of tensors (of arrays: torch.from_numpy)."
        ) from error


def _reason(error: Exception) -> str:
    """Why a file cannot be loaded, without PyTorch's advice to load it all the same."""
    named = OTHER_CLASS.search(str(error))
    if named:
        return f"it holds objects of {named[1]}."
    first = str(error).partition("\n")[0]
    return "it is damaged, or not a PyTorch file." if not first or "you have two options" in first else first


def _numpy_numbers() -> list[Any]:
    """What `torch.load` has to know for NumPy's numbers: DC, DSA and DM save accuracies next to the images."""
    scalar = np.float64(0).__reduce__()[0]
    types = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")}
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *types]  # by the names of NumPy 2 and 1


@contextlib.contextmanager
def _as_damage() -> Iterator[None]:
    """Report what cannot be read as the other readers do."""
    try:
        yield
    except InputError as error:
        raise RunError(str(error)) from error


READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": _read_npz,
    ".npy": _read_npy,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".safetensors": read_tensors,
}
