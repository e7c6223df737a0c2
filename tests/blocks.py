"""Convolutions and blocks of many sizes, and their definitions in float64."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from ncfm import kernels
from ncfm._utils.seeding import generator

SHAPES = [  # n, h, w, c, k: thin and tiled, sides that 4 and 2 do not divide, widths of every remainder
    (3, 8, 8, 1, 8),
    (2, 9, 11, 3, 40),
    (5, 4, 6, 3, 128),
    (2, 5, 7, 8, 16),
    (3, 8, 8, 16, 8),
    (7, 4, 4, 16, 24),
    (2, 9, 6, 24, 32),
    (4, 16, 16, 128, 128),
    (1, 7, 13, 40, 72),
]


def problem(n, h, w, c, k, seed=0):
    draw = generator(seed, "kernels", n, h, w, c, k)
    x = torch.randn(n, h, w, c, generator=draw)
    weight = torch.randn(k, c, 3, 3, generator=draw) / (3 * c**0.5)
    bias, gamma, beta = torch.randn(3, k, generator=draw)
    return x, weight, bias, gamma, beta


def reference_convolution(x, weight, bias):
    """The definition in float64, channels last."""
    return F.conv2d(x.permute(0, 3, 1, 2), weight, bias, padding=1).permute(0, 2, 3, 1)


def reference_block(x, weight, bias, gamma, beta):
    y = reference_convolution(x, weight, bias).permute(0, 3, 1, 2)
    z = F.relu(F.group_norm(y, y.shape[1], gamma, beta))
    return F.avg_pool2d(z, 2).permute(0, 2, 3, 1)


def values_and_gradients(function, tensors, dtype):
    leaves = [t.to(dtype).requires_grad_() for t in tensors]
    out = function(*leaves)
    upstream = torch.randn(out.shape, generator=generator(1, "upstream"), dtype=torch.float64).to(dtype)
    return [out.detach(), *torch.autograd.grad(out, leaves, upstream)]


def assert_near(found, expected, tolerance):
    for name, (a, b) in enumerate(zip(found, expected, strict=True)):
        distance = (a.double() - b).norm() / b.norm().clamp_min(1e-6 * b.numel() ** 0.5)
        assert distance < tolerance, (name, float(distance))


def assert_same_bits_for_any_number_of_threads(shape):
    tensors = problem(*shape)
    before = torch.get_num_threads()
    outcomes = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            outcomes.append(values_and_gradients(kernels.block, tensors, torch.float32))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for other in outcomes[1:] for a, b in zip(outcomes[0], other, strict=True))


BFLOAT16_ERRORS = (8e-3, 2e-2, 2e-2, 2e-2, 2e-2)  # of the output, and of the gradients of x, weight, gamma and beta


def everywhere_positive(shape):
    """Arguments of a block whose rectifier lets everything pass: near 0 its gradient would jump with the rounding."""
    x, weight, bias, gamma, beta = problem(*shape)
    return [x, weight, bias, gamma, beta + 20]


def assert_within_the_rounding_of_bfloat16(shape):
    tensors = everywhere_positive(shape)
    found = values_and_gradients(kernels.block, tensors, torch.float32)
    expected = values_and_gradients(reference_block, tensors, torch.float64)
    scale = [expected[0].std() / expected[0].norm() * expected[0].numel() ** 0.5, 1, 1, 1, 1]
    del found[3], expected[3]  # the bias
    for a, b, part, tolerance in zip(found, expected, scale, BFLOAT16_ERRORS, strict=True):
        assert (a.double() - b).norm() / b.norm() < tolerance * part
    assert any((a.double() - b).norm() / b.norm() > 1e-4 for a, b in zip(found, expected, strict=True))
