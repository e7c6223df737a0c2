"""Convolution 3x3, alone and in one block with instance norm, ReLU and pooling, on a CPU.

**Convolution.** With 4x4 output tiles, a 3x3 convolution is (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016)

    y = A^T [ (G g G^T) . (B^T d B) ] A

where d is the 6x6 window of the input around a tile, g the filter, and the dot a matrix product over channels for each
of the 36 positions: a quarter of the multiplications of the definition. *Spreading* (B^T . B), *gathering* (A^T . A)
and the transform of the filters are linear. The two convolutions of the backward pass consist of their transposes, also
at a quarter of the cost. The result differs from direct float32 convolution by rounding, a relative 1e-6. The
first layer has too few channels for this and is computed directly.

**Block.** A thread processes one image at a time through convolution, normalisation, ReLU and pooling, in the forward
and in the backward pass, so that intermediate results stay in its cache. They are not stored if no gradient is needed,
and never in a first layer, where the backward pass recomputes them at little cost.

**Precision.** Arrays and sums are float32. In an autocast to bfloat16 the block rounds the factors of all products to
bfloat16 where the processor multiplies them natively: in pairs (AVX512-BF16), at twice the rate, or behind the first
layer by matrix registers (AMX). The polynomial behind the tiles is evaluated at 2/3 and 3/2, which keeps the error at
twice that of a direct convolution in bfloat16: a relative 5e-3 of the block's output.

In this file channels are last: images are (n, h, w, c).
"""

from __future__ import annotations

import contextvars
import ctypes
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ncfm.kernels import library

LANES = 8  # channels are processed in groups of this size
TILE = 4
THIN = 8  # up to this many channels direct convolution is faster than tiles

_switched_off = contextvars.ContextVar("ncfm_kernels_switched_off", default=False)
_differentiated_twice = contextvars.ContextVar("ncfm_kernels_differentiated_twice", default=False)


@contextmanager
def switched_off() -> Iterator[None]:
    """Use PyTorch's operators inside this context, for comparisons."""
    with _set(_switched_off):
        yield


@contextmanager
def differentiated_twice() -> Iterator[None]:
    """Use only kernels with second derivatives inside this context: the convolution, but not the block."""
    with _set(_differentiated_twice):
        yield


@contextmanager
def _set(switch: contextvars.ContextVar[bool]) -> Iterator[None]:
    token = switch.set(True)
    try:
        yield
    finally:
        switch.reset(token)


def block_usable(x: Tensor, out_channels: int) -> bool:
    """Whether `block` applies: where the convolution does, and first derivatives are sufficient.

    In an autocast to bfloat16 it does, too, where the processor has such products.
    """
    in_float32 = not torch.is_autocast_enabled("cpu")
    return _fits(x, out_channels) and not _differentiated_twice.get() and (in_float32 or multiplies_in(torch.bfloat16))


def usable(x: Tensor, out_channels: int) -> bool:
    """Whether the convolution applies to images (n, c, h, w).

    They must be float32, on a CPU, at least as large as a tile, with widths that fill registers. The kernels are not
    used inside `switched_off`, inside torch.compile, which fuses by itself, and inside torch.func transforms, for which
    there are no batching rules.
    """
    return _fits(x, out_channels) and not torch.is_autocast_enabled("cpu")


def _fits(x: Tensor, out_channels: int) -> bool:
    return (
        not torch.compiler.is_compiling()  # first, since a compiler does not support context variables
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not _switched_off.get()
        and torch._C._functorch.peek_interpreter_stack() is None
        and min(x.shape[-2:]) >= TILE
        and takes_channels(x.shape[1], out_channels)
        and library.available()
    )


def takes_channels(inputs: int, outputs: int) -> bool:
    """Whether the kernels convolve so many channels to so many."""
    return (inputs <= THIN or inputs % LANES == 0) and outputs % LANES == 0


def multiplies_in(precision: torch.dtype) -> bool:
    """Whether the kernels serve a run of this precision: float32, or bfloat16 where the processor has its products."""
    if precision == torch.bfloat16:
        return library.multiplies_bfloat16()
    return precision == torch.float32 and library.available()


def convolve3x3(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution 3x3, stride 1, zero padding 1: (n, h, w, c), weight (k, c, 3, 3), bias (k,) -> (n, h, w, k).

    Differentiable in x, weight and bias to any order.
    """
    y: Tensor = _Convolve.apply(x, weight)  # type: ignore[no-untyped-call]
    return y if bias is None else y + bias


def block(x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Convolution 3x3, instance norm, ReLU, mean over 2x2: (n, h, w, c) -> (n, h // 2, w // 2, k).

    The norm is gamma (y - mean) / sqrt(var + eps) + beta with mean and (biased) variance over the pixels of each image
    and channel. The norm cancels the convolution's bias: it is not added, and its gradient is exactly zero. The block
    is differentiable once in its other arguments.
    """
    out: Tensor = _Block.apply(x, weight, bias, gamma, beta, eps)  # type: ignore[no-untyped-call]
    return out


# The convolution is bilinear in x and the weight. Its derivatives consist of two more bilinear maps: the gradient of x
# from that of y and the weight, and the gradient of the weight from x and that of y. Their derivatives consist of the
# same three maps, so that the convolution has derivatives of any order.


class _Convolve(torch.autograd.Function):
    """y of x (n, h, w, c) and a weight (k, c, 3, 3)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)  # the inputs, not contiguous copies, to which no gradient would flow
        x, weight = x.contiguous(), weight.contiguous()
        y = x.new_empty(*x.shape[:3], len(weight))
        _call("convolve", weight.shape[1], [x, weight, y], x.shape, len(weight))
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        dx = _ToInput.apply(g, weight) if ctx.needs_input_grad[0] else None  # type: ignore[no-untyped-call]
        dweight = _ToWeight.apply(x, g) if ctx.needs_input_grad[1] else None  # type: ignore[no-untyped-call]
        return dx, dweight


class _ToInput(torch.autograd.Function):
    """The gradient of x from a gradient (n, h, w, k) of y."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(g, weight)
        g, weight = g.contiguous(), weight.contiguous()
        k, c = weight.shape[:2]
        dx = g.new_empty(*g.shape[:3], c)
        _call("to_input", c, [g, weight, dx], dx.shape, k)
        return dx

    @staticmethod
    def backward(ctx: Any, x: Tensor) -> tuple[Tensor | None, ...]:
        g, weight = ctx.saved_tensors
        dg = _Convolve.apply(x, weight) if ctx.needs_input_grad[0] else None  # type: ignore[no-untyped-call]
        dweight = _ToWeight.apply(x, g) if ctx.needs_input_grad[1] else None  # type: ignore[no-untyped-call]
        return dg, dweight


class _ToWeight(torch.autograd.Function):
    """The gradient of the weight from x and a gradient of y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, g: Tensor) -> Tensor:
        ctx.save_for_backward(x, g)
        x, g = x.contiguous(), g.contiguous()
        c, k = x.shape[3], g.shape[3]
        dweight = x.new_empty(k, c, 3, 3)
        _call("to_weight", c, [x, g, dweight], x.shape, k)
        return dweight

    @staticmethod
    def backward(ctx: Any, weight: Tensor) -> tuple[Tensor | None, ...]:
        x, g = ctx.saved_tensors
        dx = _ToInput.apply(g, weight) if ctx.needs_input_grad[0] else None  # type: ignore[no-untyped-call]
        dg = _Convolve.apply(x, weight) if ctx.needs_input_grad[1] else None  # type: ignore[no-untyped-call]
        return dx, dg


class _Block(torch.autograd.Function):
    """The block."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        x, weight, (n, h, w, c), k = x.contiguous(), weight.contiguous(), x.shape, len(weight)
        bfloat16 = torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") == torch.bfloat16
        out, mean, rstd = x.new_empty(n, h // 2, w // 2, k), x.new_empty(n, k), x.new_empty(n, k)
        y = x.new_empty(n, h, w, k) if c > THIN and any(ctx.needs_input_grad) else None
        _call("block", c, [x, weight, gamma, beta, y, out, mean, rstd], x.shape, k, eps, int(bfloat16))
        ctx.save_for_backward(x, weight, gamma, beta, y, mean, rstd)
        ctx.bfloat16 = bfloat16
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, beta, y, mean, rstd = ctx.saved_tensors
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        dweight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        dgamma, dbeta = torch.empty_like(mean), torch.empty_like(mean)
        inputs = [g.contiguous(), x, y, weight, gamma, beta, mean, rstd]
        _call(
            "block_backward", x.shape[3], [*inputs, dx, dweight, dgamma, dbeta], x.shape, len(weight), int(ctx.bfloat16)
        )
        return dx, dweight, torch.zeros_like(dgamma[0]), dgamma.sum(0), dbeta.sum(0), None


def _call(name: str, c: int, tensors: Sequence[Tensor | None], shape: Sequence[int], *more: int | float) -> None:
    """Run a loop of `cpu/loops.cpp` on dense float32 tensors, with the sizes (n, h, w, c) and further numbers.

    A layer of up to THIN input channels ``c`` is computed directly, another by tiles.
    """
    loops = library.load()
    assert loops is not None  # as `usable` has checked
    assert all(t is None or (t.is_contiguous() and t.dtype == torch.float32) for t in tensors), name
    arguments: list[Any] = [ctypes.c_void_p(None if t is None else t.data_ptr()) for t in tensors]
    arguments += [ctypes.c_int64(size) for size in shape]
    arguments += [ctypes.c_int64(value) if isinstance(value, int) else ctypes.c_float(value) for value in more]
    getattr(loops, ("thin_" if c <= THIN else "winograd_") + name)(*arguments)
