"""Pickle files as Python 2 wrote them (protocol 2, ``cPickle``): the published files of CIFAR, byte for byte."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

AT_ONCE = 1000  # items of a list


class Python2Pickler:
    """Writes dictionaries of strings, whole numbers, lists of these, and uint8 matrices."""

    def __init__(self) -> None:
        self._out = bytearray(b"\x80\x02")
        self._memo = 1

    def dump(self, content: dict[str, Any]) -> bytes:
        self._out += b"}"
        self._put()
        self._out += b"("
        for key, value in content.items():
            self._string(key)
            self._value(value)
        self._out += b"u."
        return bytes(self._out)

    def _value(self, value: Any) -> None:
        if isinstance(value, str):
            self._string(value)
        elif isinstance(value, int):
            self._int(value)
        elif isinstance(value, list):
            self._list(value)
        else:
            self._matrix(value)

    def _put(self) -> None:
        self._out += b"q" + bytes([self._memo]) if self._memo < 256 else b"r" + struct.pack("<I", self._memo)
        self._memo += 1

    def _string(self, text: str | bytes, *, put: bool = True) -> None:
        data = text.encode("latin1") if isinstance(text, str) else text
        self._out += (b"U" + bytes([len(data)]) if len(data) < 256 else b"T" + struct.pack("<I", len(data))) + data
        if put:
            self._put()

    def _int(self, value: int) -> None:
        if 0 <= value < 256:
            self._out += b"K" + bytes([value])
        else:
            self._out += b"M" + struct.pack("<H", value) if 0 <= value < 65536 else b"J" + struct.pack("<i", value)

    def _list(self, items: list[Any]) -> None:
        self._out += b"]"
        self._put()
        for start in range(0, len(items), AT_ONCE):
            self._out += b"("
            for item in items[start : start + AT_ONCE]:
                self._value(item)
            self._out += b"e"

    def _name(self, module: str, name: str) -> None:
        self._out += f"c{module}\n{name}\n".encode()
        self._put()

    def _call(self, code: bytes) -> None:
        self._out += code + b"R"
        self._put()

    def _matrix(self, array: np.ndarray) -> None:
        self._name("numpy.core.multiarray", "_reconstruct")
        self._name("numpy", "ndarray")
        self._int(0)
        self._out += b"\x85"
        self._string("b", put=False)
        self._call(b"\x87")
        self._out += b"("
        for value in (1, *array.shape):
            self._int(value)
        self._out += b"\x86"
        self._name("numpy", "dtype")
        self._string("u1", put=False)
        self._int(0)
        self._int(1)
        self._call(b"\x87")
        self._out += b"("
        self._int(3)
        self._string("|", put=False)
        self._out += b"NNN"
        for value in (-1, -1, 0):
            self._int(value)
        self._out += b"tb\x89"
        self._string(array.tobytes(), put=False)
        self._out += b"tb"


def python2_pickle(content: dict[str, Any]) -> bytes:
    """The bytes of a file."""
    return Python2Pickler().dump(content)
