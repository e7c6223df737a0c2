"""Convolution 3x3, alone and in one block with instance norm, ReLU and pooling: float32 on a CPU.

**Convolution.** With 4x4 output tiles, a 3x3 convolution is (Lavin and Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016)

    y = A^T [ (G g G^T) . (B^T d B) ] A

where d is the 6x6 span of the input around a tile, g the filter, and the dot a matrix product over channels for each of
the 36 positions: a quarter of the multiplications of the definition. *Spreading* (B^T . B), *gathering* (A^T . A) and
the transform of the filters are linear, so the two convolutions of the backward pass are made of their transposes, at a
quarter of the cost too. Against direct float32 convolution the result differs by rounding, 1e-5 of its size (bfloat16:
4e-3). The first layer has too few channels for this and is computed by the definition.

**Block.** Convolution, normalisation, rectifier and pooling go over the images in chunks whose arrays stay in the
cache, in the forward and in the backward pass. What the backward pass can make again at little cost is not kept.

Everywhere here channels are last: images are (n, h, w, c).
"""

from __future__ import annotations

import contextvars
import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ncfm.kernels import library

LANES = 8  # channels are handled in groups of this many
TILE = 4
POSITIONS = 36
THIN = 8  # up to so many channels the definition beats tiles
CHUNK_PIXELS = 16384  # of a chunk: its arrays then take 10 to 20 MB at 128 channels, a last-level cache

# G of Lavin and Gray for F(4, 3).
_G = torch.tensor(
    [
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ]
)
_FILTER_TRANSFORM = torch.einsum("ia,jb->ijab", _G, _G).reshape(POSITIONS, 9)


_switched_off = contextvars.ContextVar("ncfm_kernels_switched_off", default=False)


@contextmanager
def switched_off() -> Iterator[None]:
    """PyTorch's operators inside this block: for second derivatives, or to compare."""
    token = _switched_off.set(True)
    try:
        yield
    finally:
        _switched_off.reset(token)


def usable(x: Tensor, out_channels: int) -> bool:
    """Whether these kernels serve (n, c, h, w) images: float32, on a CPU, a tile large, widths that fill registers.

    Not inside `switched_off`, nor inside torch.compile, which fuses by itself, nor inside torch.func transforms,
    for which there are no batching rules.
    """
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not _switched_off.get()
        and not torch.compiler.is_compiling()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._functorch.peek_interpreter_stack() is None
        and min(x.shape[-2:]) >= TILE
        and (x.shape[1] <= THIN or x.shape[1] % LANES == 0)
        and out_channels % LANES == 0
        and library.available()
    )


def convolve3x3(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Convolution 3x3, stride 1, zero padding 1: (n, h, w, c), weight (k, c, 3, 3), bias (k,) -> (n, h, w, k).

    Differentiable once in x, weight and bias.
    """
    y: Tensor = _Convolution.apply(x, weight)  # type: ignore[no-untyped-call]
    return y + bias


def block(x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float = 1e-5) -> Tensor:
    """Convolution 3x3, instance norm, ReLU, mean over 2x2: (n, h, w, c) -> (n, h // 2, w // 2, k).

    The norm is gamma (y - mean) / sqrt(var + eps) + beta with mean and (biased) variance over the pixels of each image
    and channel. The norm takes the convolution's bias away again, so it is not added, and its gradient is exactly zero.
    Differentiable once in everything else.
    """
    out: Tensor = _Block.apply(x, weight, bias, gamma, beta, eps)  # type: ignore[no-untyped-call]
    return out


class _Convolution(torch.autograd.Function):
    """The convolution without bias, chunk by chunk."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        x = x.contiguous()
        filters = transform_filters(weight)
        y = x.new_empty(*x.shape[:3], weight.shape[0])
        for part in chunks(x):
            convolve(x[part], filters, out=y[part])
        ctx.save_for_backward(x, weight, filters)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, filters = ctx.saved_tensors
        g = g.contiguous()
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        dfilters = torch.zeros_like(filters) if ctx.needs_input_grad[1] else None
        for part in chunks(x):
            convolve_backward(x[part], filters, g[part], None if dx is None else dx[part], dfilters)
        return dx, None if dfilters is None else transform_filters_transposed(dfilters, weight.shape)


class _Block(torch.autograd.Function):
    """The block, chunk by chunk; of a first layer not even the convolution's output is kept."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> Tensor:
        x, (n, h, w, c), k = x.contiguous(), x.shape, weight.shape[0]
        filters = transform_filters(weight)
        out, mean, rstd = x.new_empty(n, h // 2, w // 2, k), x.new_empty(n, k), x.new_empty(n, k)
        keep = c > THIN and any(ctx.needs_input_grad)
        kept = x.new_empty(n if keep else 0, h, w, k)
        for part in chunks(x):
            y = kept[part] if keep else x.new_empty(len(x[part]), h, w, k)
            convolve(x[part], filters, out=y)
            _call("norm_relu_pool", [y, gamma, beta, out[part], mean[part], rstd[part]], y.shape, eps)
        ctx.save_for_backward(x, weight, gamma, beta, filters, kept, mean, rstd)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, gamma, beta, filters, kept, mean, rstd = ctx.saved_tensors
        g = g.contiguous()
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        dfilters = torch.zeros_like(filters) if ctx.needs_input_grad[1] else None
        dgamma, dbeta = torch.empty_like(mean), torch.empty_like(mean)
        for part in chunks(x):
            y = kept[part] if len(kept) else convolve(x[part], filters)
            dy = torch.empty_like(y)
            tensors = [g[part], y, gamma, beta, mean[part], rstd[part], dy, dgamma[part], dbeta[part]]
            _call("norm_relu_pool_backward", tensors, y.shape)
            convolve_backward(x[part], filters, dy, None if dx is None else dx[part], dfilters)
        dweight = None if dfilters is None else transform_filters_transposed(dfilters, weight.shape)
        return dx, dweight, torch.zeros_like(dgamma[0]), dgamma.sum(0), dbeta.sum(0), None


def chunks(x: Tensor) -> Iterator[slice]:
    """Slices over the images of ``x`` of about CHUNK_PIXELS pixels each."""
    step = max(CHUNK_PIXELS // (x.shape[1] * x.shape[2]), 1)
    for start in range(0, len(x), step):
        yield slice(start, start + step)


def convolve(x: Tensor, filters: Tensor, out: Tensor | None = None) -> Tensor:
    """The convolution of a chunk by transformed filters, without gradient."""
    n, h, w, _ = x.shape
    out = x.new_empty(n, h, w, filters.shape[2]) if out is None else out
    if len(filters) == 1:
        _call("thin_convolve", [x, filters, out], x.shape, out.shape[3])
    else:
        _call("winograd_gather", [torch.bmm(spread(x), filters), out], out.shape)
    return out


def convolve_backward(x: Tensor, filters: Tensor, g: Tensor, dx: Tensor | None, dfilters: Tensor | None) -> None:
    """Write the gradient in x to ``dx`` and add that in the transformed filters to ``dfilters``, where given."""
    if len(filters) == 1:
        if dx is not None:
            transposed = F.pad(filters[0].T, (0, -filters.shape[1] % LANES)).contiguous()
            _call("thin_to_input", [g, transposed, dx], x.shape, g.shape[3])
        if dfilters is not None:
            by_image = g.new_empty(len(x), *filters.shape[1:])
            _call("thin_to_filters", [x, g, by_image], x.shape, g.shape[3])
            dfilters += by_image.sum(0)
        return
    products = g.new_empty(POSITIONS, num_tiles(*g.shape[:3]), g.shape[3])
    _call("winograd_gather_transposed", [g, products], g.shape)
    if dx is not None:
        _call("winograd_spread_transposed", [torch.bmm(products, filters.transpose(1, 2)), dx], dx.shape)
    if dfilters is not None:
        dfilters.baddbmm_(spread(x).transpose(1, 2), products)


def transform_filters(weight: Tensor) -> Tensor:
    """G g G^T: (k, c, 3, 3) -> (36, c, k); for a thin layer just rearranged, (1, 9 c, k)."""
    k, c = weight.shape[:2]
    flat = weight.detach().permute(2, 3, 1, 0).reshape(9, c * k).contiguous()
    return flat.view(1, 9 * c, k) if c <= THIN else (_FILTER_TRANSFORM @ flat).view(POSITIONS, c, k)


def transform_filters_transposed(filters: Tensor, shape: torch.Size) -> Tensor:
    """The transpose of `transform_filters`, back to a weight of ``shape`` (k, c, 3, 3)."""
    k, c = shape[:2]
    flat = filters.view(9, c * k) if c <= THIN else _FILTER_TRANSFORM.T @ filters.view(POSITIONS, c * k)
    return flat.view(3, 3, c, k).permute(3, 2, 0, 1)


def spread(x: Tensor) -> Tensor:
    """B^T d B of each tile: (n, h, w, c) -> (36, tiles, c)."""
    out = x.new_empty(POSITIONS, num_tiles(*x.shape[:3]), x.shape[3])
    _call("winograd_spread", [x, out], x.shape)
    return out


def num_tiles(n: int, h: int, w: int) -> int:
    """Tiles of n images; an edge that 4 does not divide has a tile that reaches over it."""
    return n * -(-h // TILE) * -(-w // TILE)


def _call(name: str, tensors: list[Tensor], shape: torch.Size, *more: int | float) -> None:
    """Run a loop of `cpu.cpp` on dense float32 tensors: their addresses, the sizes (n, h, w, c), further numbers."""
    loops = library.load()
    assert loops is not None  # `usable` was asked
    assert all(t.is_contiguous() and t.dtype == torch.float32 for t in tensors), name
    arguments: list[Any] = [ctypes.c_void_p(t.data_ptr()) for t in tensors]
    arguments += [ctypes.c_int64(size) for size in shape]
    arguments += [ctypes.c_int64(value) if isinstance(value, int) else ctypes.c_float(value) for value in more]
    getattr(loops, name)(*arguments)
