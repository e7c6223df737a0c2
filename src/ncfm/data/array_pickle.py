"""Pickle files of arrays, read without running code of theirs.

A pickle is a program, which may call any function that it names. Here the few names that an array of numbers needs
stand for classes of this file, which take the array's bytes, and every other name is refused.

Reference:
    Python documentation, "Restricting Globals", https://docs.python.org/3/library/pickle.html#restricting-globals.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ncfm._utils.checks import InputError

LARGEST = 2**30  # bytes of a file
KINDS = "biuf"  # of numbers: booleans, integers with and without sign, floats


class ForbiddenName(Exception):
    """A pickle that names something other than an array."""


class _Dtype:
    """A dtype of numbers: ``dtype("u1", False, True)`` and then its state, of which the byte order matters."""

    def __init__(self, code: str, *_: object) -> None:
        self.dtype = np.dtype(str(code))
        if self.dtype.kind not in KINDS:
            raise ForbiddenName(f"an array of {code!r}")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.dtype = self.dtype.newbyteorder(order) if order in "<>" else self.dtype


class _Array:
    """An array: made empty by ``_reconstruct``, then filled by its state."""

    value: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, raw = state
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        flat = np.frombuffer(data, dtype.dtype)
        self.value = flat.reshape(shape, order="F" if is_fortran else "C")


class _Scalar:
    """A NumPy number: its dtype and its bytes."""

    def __init__(self, dtype: _Dtype, raw: bytes | str) -> None:
        data = raw.encode("latin1") if isinstance(raw, str) else raw
        (self.value,) = np.frombuffer(data, dtype.dtype)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _frombuffer(buffer: bytes | bytearray | memoryview, dtype: _Dtype, shape: tuple[int, ...], order: str) -> _Array:
    array = _Array()
    array.value = np.frombuffer(bytes(buffer), dtype.dtype).reshape(shape, order="F" if order == "F" else "C")
    return array


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Bytes as Python 3 writes them for Python 2."""
    if encoding not in ("latin1", "latin-1"):
        raise ForbiddenName(f"the encoding {encoding!r}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """No bytes, as Python 3 writes them for Python 2."""
    return b""


ALLOWED = {
    ("__builtin__", "bytes"): _no_bytes,
    ("numpy", "ndarray"): None,  # only named, as an argument of _reconstruct
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
} | {
    (f"numpy.{core}.{module}", name): stand_in
    for core in ("core", "_core")  # before and since NumPy 2
    for module, name, stand_in in (
        ("multiarray", "_reconstruct", _reconstruct),
        ("multiarray", "scalar", _Scalar),
        ("numeric", "_frombuffer", _frombuffer),
    )
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise ForbiddenName(f"{module}.{name}")
        return ALLOWED[module, name]

    def persistent_load(self, pid: object) -> Any:
        raise ForbiddenName("an object outside the file")


def read_array_pickle(path: Path, converter: str) -> dict[str, Any]:
    """A pickled dictionary of arrays, lists, strings and numbers, also one that Python 2 wrote.

    Args:
        path: of the file.
        converter: a command that converts the file where the user trusts it, for messages.

    Raises:
        NcfmError: for a file that is damaged, too large, no dictionary, or names anything but arrays of numbers.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(f"{path} has more than {LARGEST / 2**30:.3g} GiB; refused.")
        with path.open("rb") as file:
            found = _Unpickler(file, encoding="latin1").load()
        if not isinstance(found, dict):
            raise InputError(f"{path}: expected a pickled dictionary, found {type(found).__name__}.")
        return {_text(key): _plain_list(value) for key, value in found.items()}
    except InputError:
        raise
    except ForbiddenName as error:
        raise InputError(
            f"{path} asks for {error}, and a pickle may run any code; only arrays of numbers are read. "
            f"If you trust the file, convert it: {converter}"
        ) from error
    except Exception as error:  # a damaged program may fail anywhere
        raise InputError(
            f"Could not read {path} as a pickle of arrays: {str(error) or type(error).__name__}."
        ) from error


def _text(key: object) -> str:
    return key.decode("latin1") if isinstance(key, bytes) else str(key)


def _plain_list(value: object) -> Any:
    """Arrays in place of their stand-ins, also in a list but no deeper: a small file may nest lists without end."""
    return [_plain(item) for item in value] if isinstance(value, list) else _plain(value)


def _plain(value: object) -> Any:
    return value.value if isinstance(value, _Array | _Scalar) else value
