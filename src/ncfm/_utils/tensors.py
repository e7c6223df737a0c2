"""Tensors and arrays from outside, as dense ones of real numbers that PyTorch and NumPy compute with.

Both libraries have kinds that few of their functions accept: nested, sparse, quantised, without values, with parts of a
byte as numbers, with a mask. Everything that enters passes here. What has the same values in a usual form is brought
into it, and everything else is refused: a conversion that is guessed would give plausible images.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncfm._utils.checks import InputError, describe

NUMBERS = "biuf"  # kinds of NumPy types: booleans, integers with and without sign, floats
WIDE = {torch.bfloat16, *(getattr(torch, name) for name in dir(torch) if name.startswith("float8_"))}
"""Floats that NumPy does not have, or of which few operators take any: they become float32, without loss."""
PLAIN = {
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.uint16, torch.uint32, torch.uint64, torch.float16, torch.float32, torch.float64),
}


def is_dense(value: Tensor) -> bool:
    """Whether a tensor has real numbers in one block of memory."""
    return not _special(value)


def check_dense(value: object, where: str) -> None:
    """Raise InputError, with the remedy, unless this is a tensor of real numbers in one block of memory."""
    if not isinstance(value, Tensor):
        raise InputError(f"{where}: expected a tensor, got {describe(value)}; give torch.as_tensor(...).")
    special = _special(value)
    if special:
        raise InputError(f"{where}: expected a dense tensor of real numbers, got {special}.")


def dense(value: Tensor, where: str) -> Tensor:
    """A tensor without a gradient, on its device, of a type that all operators take.

    Raises:
        InputError: for a tensor that is not dense, with the remedy.
    """
    check_dense(value, where)
    plain = value.detach().as_subclass(Tensor).resolve_neg()
    return plain.float() if plain.dtype in WIDE else plain


def as_array(value: Any, where: str) -> np.ndarray:
    """An array of an array, tensor (on any device, with or without a gradient), number or nested list.

    Numbers are in this machine's byte order; floats of more than 64 bits become float64.

    Raises:
        InputError: for anything of which NumPy makes no array, and for arrays with a mask.
    """
    if isinstance(value, Tensor):
        value = dense(value, where)
    parts = value if isinstance(value, (list, tuple)) else (value,)
    masked = sum(int(np.ma.getmaskarray(part).sum()) for part in parts if isinstance(part, np.ma.MaskedArray))
    if masked:
        raise InputError(
            f"{where}: expected values everywhere, got an array with {masked:,} masked; fill them (array.filled(0)), "
            "or leave out such images."
        )
    try:
        array = value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
    except MemoryError:
        raise
    except Exception as error:  # of any kind, from the object's own code
        raise InputError(f"{where}: expected an array, got {describe(value)}: {str(error).rstrip('.')}.") from error
    return _native(array)


def as_tensor(value: Any, where: str, what: str = "numbers") -> Tensor:
    """A tensor of an array, tensor or nested list of numbers: the same memory where that is possible.

    Args:
        value: is made one.
        where: names it in messages.
        what: the numbers are.

    Raises:
        InputError: as `dense` and `as_array`, and for arrays of anything but numbers.
    """
    if isinstance(value, Tensor):
        return dense(value, where)
    array = as_array(value, where)
    if array.dtype.kind not in NUMBERS:
        raise InputError(f"{where}: expected {what}, got {in_words(array)}; give uint8, or floats.")
    if not array.flags.writeable or any(step < 0 for step in array.strides):
        array = array.copy()  # PyTorch has no tensors of such memory
    return torch.from_numpy(array)


def in_words(array: np.ndarray) -> str:
    """What an array holds, for messages.

    >>> in_words(np.zeros((2, 3), object)), in_words(np.zeros(4, np.float16))
    ('Python objects of shape (2, 3)', 'float16 of shape (4,)')
    """
    return f"{'Python objects' if array.dtype.hasobject else array.dtype} of shape {array.shape}"


def _native(array: np.ndarray) -> np.ndarray:
    """An array in this machine's byte order, of floats of at most 64 bits."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _special(value: Tensor) -> str:
    """What makes a tensor none of the usual ones, with the remedy; empty for a usual one."""
    if value.is_nested:
        return "a nested tensor, whose parts differ in size; pad it (to_padded_tensor), or give a list of its parts"
    if value.is_meta:
        return "one without values (device meta); give it values first"
    if value.is_quantized:
        return f"quantised numbers ({value.dtype}); give tensor.dequantize()"
    if value.layout != torch.strided:
        return f"the layout {value.layout}; give tensor.to_dense()"
    if type(value).__torch_dispatch__ is not Tensor.__torch_dispatch__:
        return f"a {type(value).__name__}; give a plain torch.Tensor with its values"
    if value.is_complex():
        return f"complex numbers ({value.dtype}); give their real part (tensor.real)"
    if value.dtype not in PLAIN | WIDE:
        return f"{value.dtype}; convert it to uint8 or float32"
    return ""
