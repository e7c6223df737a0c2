"""Arrays, labels and items of every kind, chosen by the bytes of a fuzzer.

A byte is a decision, so that a fuzzer which changes a byte changes one thing, and learns from it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

T = TypeVar("T")
ROWS = 6


class Choices:
    """Decisions that bytes make one after the other; the first option once they are used up."""

    def __init__(self, content: bytes) -> None:
        self._content, self._at = content, 0

    def below(self, end: int) -> int:
        """A number from 0 to ``end - 1``, at most 256 of them."""
        self._at += 1
        return self._content[self._at - 1] % end if self._at <= len(self._content) else 0

    def of(self, options: Sequence[T]) -> T:
        """One of some options."""
        return options[self.below(len(options))]

    def rarely(self) -> bool:
        """Whether something unusual happens: in one of eight cases."""
        return self.below(8) == 7


def encoded(kind: str = "png") -> bytes:
    """A small image file."""
    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 100, np.uint8)).save(buffer, kind)
    return buffer.getvalue()


def _masked(array: np.ndarray) -> np.ndarray:
    return np.ma.masked_array(array, mask=np.arange(array.size).reshape(array.shape) % 3 == 0)


def _read_only(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.setflags(write=False)
    return array


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32 if array.dtype.kind not in "biuf" else None))


def _quantised(array: np.ndarray) -> torch.Tensor:
    return torch.quantize_per_tensor(_tensor(array).float(), 0.1, 0, torch.quint8)


def _four_bits(array: np.ndarray) -> torch.Tensor:
    return torch.empty(array.shape, dtype=torch.uint4)


def _structured(array: np.ndarray) -> np.ndarray:
    return np.zeros(array.shape, [("a", "u1"), ("b", ">f4")])


ARRAYS: tuple[Callable[[np.ndarray], Any], ...] = (
    lambda a: a,
    _tensor,
    lambda a: a.tolist(),
    *(lambda a, kind=kind: a.astype(kind) for kind in ("f2", "f4", "f8", "u1", "u2", "u4", "u8", "i1", "i8", "?")),
    *(lambda a, kind=kind: a.astype(kind) for kind in (">f4", ">u2", ">i8", np.longdouble, complex, "M8[s]", "U4")),
    lambda a: a.astype(object),
    lambda a: a.astype(str).astype("S3"),
    _structured,
    _masked,
    _read_only,
    lambda a: a[::-1],
    lambda a: np.asfortranarray(a),
)
"""Arrays of NumPy, and what is like them."""

TENSORS: tuple[Callable[[np.ndarray], Any], ...] = (
    _tensor,
    lambda a: torch.nested.nested_tensor(list(_tensor(a).float())),
    lambda a: torch.nested.nested_tensor(list(_tensor(a).float()), layout=torch.jagged),
    lambda a: _tensor(a).to("meta"),
    lambda a: _tensor(a).to_sparse(),
    lambda a: _tensor(a).float().to_mkldnn(),
    _quantised,
    _four_bits,
    *(lambda a, kind=kind: _tensor(a).to(kind) for kind in (torch.bfloat16, torch.half, torch.double, torch.bool)),
    *(lambda a, kind=kind: _tensor(a).to(kind) for kind in (torch.float8_e4m3fn, torch.complex64, torch.uint16)),
    *(lambda a, kind=kind: _tensor(a).to(kind) for kind in (torch.uint64, torch.int64, torch.int8)),
    lambda a: _tensor(a).byte().view(torch.bits8),
    lambda a: torch._neg_view(_tensor(a).float()),
    lambda a: torch.nn.Parameter(_tensor(a).float()),
    lambda a: _tensor(a).expand(a.shape),
)
"""Tensors, also of kinds that few operators take."""

SHAPES = (
    *((ROWS, 8, 8, 3), (ROWS, 3, 8, 8), (ROWS, 8, 8), (ROWS, 1, 8, 8), (ROWS, 8, 8, 4), (ROWS, 8, 9, 3), (ROWS, 64)),
    *((3, 2, 3, 8, 8), (3, 2, 1, 8, 8), (0, 8, 8, 3), (ROWS,), (), (1, 1, 1, 1), (ROWS, 0, 0, 3), (2 * ROWS, 3, 8, 8)),
)
VALUES = (0.5, 1, 100, 0, 255, -1, 1e30, float("nan"), float("inf"), 65535, 2.0**63, 1.02, -0.03)


def some_array(c: Choices, kinds: Sequence[Callable[[np.ndarray], Any]] = ARRAYS + TENSORS) -> Any:
    """Images of any kind, shape and value."""
    shape = c.of(SHAPES)
    value = c.of(VALUES)
    array = np.full(shape, value, np.float64)
    if array.size and c.rarely():
        array.flat[0] = c.of(VALUES)
    with np.errstate(all="ignore"):
        return _made(c.of(kinds), array)


def _made(kind: Callable[[np.ndarray], Any], array: np.ndarray) -> Any:
    """An array of a kind; the array itself where there is none of its shape."""
    try:
        return kind(array)
    except (RuntimeError, ValueError, TypeError, IndexError):  # NotImplementedError is a RuntimeError
        return array


def some_images(c: Choices) -> Any:
    """Images: mostly an array, else a list of images in any form."""
    if not c.rarely():
        return some_array(c)
    return [some_image(c) for _ in range(ROWS)]


def some_image(c: Choices) -> Any:
    """One image in any form."""
    if c.rarely():
        pixels = np.full((8, 8, 3), 100, np.uint8)
        pillow = Image.fromarray(pixels).convert(c.of(("RGB", "L", "1", "P", "CMYK", "I", "F", "LA", "HSV")))
        return c.of((pillow, encoded(), b"", "no/such.png", None, {"bytes": encoded(), "path": None}, {}, "\0", 7))
    array = np.full(c.of(tuple(shape[1:] for shape in SHAPES if shape)), c.of(VALUES))
    with np.errstate(all="ignore"):
        return _made(c.of(ARRAYS + TENSORS), array)


LABELS: tuple[Any, ...] = (
    *(0, 1, 2, "a", "b", -1, None, True, 2.0, 2.5, float("nan"), 10**12, 2**64, b"a", b"\xff", [0], [0, 1], (1, 0, 0)),
    *(np.int8(1), np.float32(1), np.array(1), np.array([1]), torch.tensor(1), torch.tensor([0.5, 0.5]), {}, "x" * 5000),
    *(np.ma.masked, complex(1, 0), "\ud800", torch.tensor(1).to("meta"), object, [], [[1]], np.array(["a"])),
)


def some_labels(c: Choices) -> Any:
    """Labels: an array of numbers, or a list of labels in any form."""
    how = c.below(4)
    if how == 0:
        return [i % 3 for i in range(ROWS)]
    if how == 1:
        array = np.arange(ROWS).astype(float) % 3
        shapes = (array, array[:, None], np.eye(3)[array.astype(int)], np.full((ROWS, 3), 1 / 3), array + 1e12, -array)
        with np.errstate(all="ignore"):
            return _made(c.of(ARRAYS + TENSORS), c.of(shapes))
    if how == 2:
        label = c.of(LABELS)
        return [label] * ROWS
    return [c.of(LABELS) for _ in range(c.of((ROWS, ROWS, 0, 1, 7)))]


def some_items(c: Choices) -> Iterator[Any]:
    """Items of a dataset."""
    for _ in range(ROWS):
        image, label = some_image(c), c.of(LABELS[:6])
        yield c.of(
            (
                *((image, label), [image, label], {"image": image, "label": label}, (image, label, 3)),
                *((image,), None, image, {"image": image}, {"img": image, "class": label, "more": 1}, {1: 2}, ()),
            )
        )
