"""Hypothesis strategies that draw a problem together with its exact answer.

Shapes and a seed are drawn, the numbers come from a seeded generator: shrinking leads to the smallest shapes.
Everything is float64, so that a tolerance speaks of the formula and not of rounding.
"""

import math
from typing import NamedTuple

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from torch import Tensor

# The same examples at every run: a failure can be repeated, and no example database is written.
properties = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])

AMPLITUDE_WEIGHTS = (0.0, 0.3, 0.5, 1.0)
amplitude_weights = st.sampled_from(AMPLITUDE_WEIGHTS)
seeds = st.integers(0, 2**31 - 1)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(seed, *shape):
    return torch.randn(*shape, generator=rng(seed), dtype=torch.float64)


class Samples(NamedTuple):
    """Two samples and frequencies, no answer known."""

    x: Tensor  # (..., n, d)
    y: Tensor  # (..., m, d)
    t: Tensor  # (k, d)


class Problem(NamedTuple):
    """Two samples whose gaps are known in closed form."""

    x: Tensor  # (n, d)
    y: Tensor  # (m, d)
    t: Tensor  # (k, d)
    amplitude: Tensor  # (k,) exact (|Phi_x| - |Phi_y|)^2
    phase: Tensor  # (k,) exact 2 |Phi_x| |Phi_y| (1 - cos(difference of angles))


@st.composite
def samples(draw, groups=((), (2,), (2, 3)), min_rows=1):
    """Two different samples of any group shape; scales from nearly constant to several turns of the phase."""
    group = draw(st.sampled_from(groups))
    n, m = (draw(st.integers(min_rows, 7)) for _ in range(2))
    d, k = draw(st.integers(1, 5)), draw(st.integers(1, 6))
    seed, scale = draw(seeds), draw(st.sampled_from([0.1, 1.0, 5.0]))
    x = normal(seed, *group, n, d)
    y = 0.3 + 1.3 * normal(seed + 1, *group, m, d)
    return Samples(x, y, scale * normal(seed + 2, k, d))


@st.composite
def two_diracs(draw):
    """All of x at a, all of y at b: both moduli are 1, the angle between them is <t, a - b>."""
    n, m, d = (draw(st.integers(1, 5)) for _ in range(3))
    seed = draw(seeds)
    a, b, t = normal(seed, d), normal(seed + 1, d), normal(seed + 2, 6, d)
    phase = 2 * (1 - torch.cos(t @ (a - b)))
    return Problem(a.expand(n, d), b.expand(m, d), t, torch.zeros_like(phase), phase)


@st.composite
def shifted_copies(draw):
    """y = x + v: Phi_y = exp(j <t, v>) Phi_x, so the moduli agree and the angle between them is <t, v>."""
    n, d = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    seed = draw(seeds)
    x, v, t = normal(seed, n, d), normal(seed + 1, d), normal(seed + 2, 6, d)
    projections = x @ t.T
    square = projections.cos().mean(0) ** 2 + projections.sin().mean(0) ** 2
    return Problem(x, x + v, t, torch.zeros_like(square), 2 * square * (1 - torch.cos(t @ v)))


@st.composite
def dirac_and_pair(draw):
    """x at 0, y half at b and half at -b: Phi_x = 1, Phi_y = cos <t, b>, of angle 0 or pi."""
    d, seed, half = draw(st.integers(1, 5)), draw(seeds), draw(st.integers(1, 3))
    b, t = normal(seed, d), normal(seed + 1, 6, d)
    cos = torch.cos(t @ b)
    y = torch.cat([b.expand(half, d), -b.expand(half, d)])
    return Problem(torch.zeros(2, d).double(), y, t, (1 - cos.abs()) ** 2, 4 * (-cos).clamp(min=0))


@st.composite
def equal_samples(draw):
    """y holds every row of x equally often, in another order: nothing to tell apart."""
    n, d, copies = draw(st.integers(1, 6)), draw(st.integers(1, 5)), draw(st.integers(1, 3))
    seed = draw(seeds)
    x, t = normal(seed, n, d), normal(seed + 1, 6, d)
    order = torch.randperm(copies * n, generator=rng(seed))
    zero = torch.zeros(6).double()
    return Problem(x, x.repeat(copies, 1)[order], t, zero, zero)


exact_problems = st.one_of(two_diracs(), shifted_copies(), dirac_and_pair(), equal_samples())


def gaussian_samples(seed, repeats, n, d, k):
    """Standard normal samples (repeats, n, d), frequencies (k, d) and the exact exp(-|t|^2 / 2), (k,)."""
    t = normal(seed + 1, k, d)
    return normal(seed, repeats, n, d), t, torch.exp(-t.square().sum(-1) / 2)


@st.composite
def formations(draw):
    """(C, ipc, size, factor, mode, bound) that fit together: 12 is divisible by every factor used."""
    ipc = draw(st.integers(1, 5))
    mode = draw(st.sampled_from(["single", "multi", "bounded"]))
    bound = draw(st.integers(ipc, 40))
    return draw(st.integers(1, 3)), ipc, 12, draw(st.integers(1, 3)), mode, bound


def interval(values):
    """Mean of independent values and four standard errors: chance leaves it once in 16,000 tests."""
    return values.mean(), 4 * values.std() / math.sqrt(len(values))
