"""The precision in which discrepancies are computed: at least single."""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor


def in_single(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Tensors of one floating-point type: the widest of theirs, and at least float32.

    In half precision a discrepancy would not be one: an epsilon of 1e-8 is 0 there, squares overflow at 256, and a mean
    of thousands of cosines keeps two or three digits.
    """
    common = reduce(torch.promote_types, (tensor.dtype for tensor in tensors), torch.float32)
    return tuple(tensor.to(common) for tensor in tensors)
