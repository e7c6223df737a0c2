"""A two-sample test: do two samples come from the same distribution? Its p-value is exact for any sizes."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Generator, Tensor

from ncfm._utils.checks import (
    InputError,
    check_at_least,
    check_finite,
    check_fraction,
    check_matrix_pair,
    check_positive,
)
from ncfm._utils.seeding import generator as named_generator
from ncfm._utils.types import Features, Frequencies, Phi
from ncfm.discrepancy import MAX_PROJECTIONS, median_bandwidth, ncfd_from_phi
from ncfm.discrepancy.frequencies import FrequencySampler

ROWS_FOR_MEDIAN = 1000  # of the pooled samples; the median distance costs the square of their number
_ROUNDING = 1e-9  # values nearer than this are equal: far above the rounding of float64, far below a difference


@dataclass(frozen=True)
class TwoSampleResult:
    """The result of a two-sample test."""

    statistic: float  # `ncfd` of the samples
    p_value: float  # probability of this value or a larger one for equal distributions; >= 1 / (permutations + 1)
    permutations: int
    permuted: Tensor = field(repr=False, compare=False)  # (permutations,) the statistic under shuffled labels


@torch.no_grad()
def two_sample_test(
    x: Features,
    y: Features,
    *,
    frequencies: FrequencySampler | Frequencies | None = None,
    num_frequencies: int = 256,
    scale: float | None = None,
    amplitude_weight: float = 0.5,
    permutations: int = 999,
    generator: Generator | None = None,
) -> TwoSampleResult:
    r"""Permutation test of the hypothesis that x and y come from the same distribution, by their `ncfd`.

    .. math:: p = \frac{1 + \#\{i : T_i \ge T\}}{1 + \mathrm{permutations}}

    T is the discrepancy of the samples, T_i that of a random permutation of the pooled rows. If both samples come from
    the same distribution (exchangeable rows), :math:`P(p \le a) \le a` for every level a and any sizes, because all
    T_i have the same sampling noise. All of them use the same frequencies, which must not be learned from these rows.

    Everything is computed in float64 (on the CPU if the device has no float64). Cost: (n + m) k (d + permutations).
    Memory: `MAX_PROJECTIONS` numbers at a time, and permutations x (n + m) labels of one byte.

    Args:
        x: (n, d).
        y: (m, d).
        frequencies: (k, d), or a sampler, of which one draw is used; default: Gaussian.
        num_frequencies: k of the default.
        scale: standard deviation of the default frequencies; None: 1 / (median distance of at most `ROWS_FOR_MEDIAN`
            pooled rows).
        amplitude_weight: alpha in [0, 1]. 1 tests amplitudes only, which no shift changes. 0 tests phases only, which
            are equal for centred Gaussians of any width.
        permutations: 999 make p a multiple of 1/1000.
        generator: draws frequencies and permutations; default: seed 0 at every call.

    Raises:
        NcfmError: for samples that are not finite matrices of equal width, or invalid settings.

    Reference:
        Phipson and Smyth, "Permutation P-values Should Never Be Zero", 2010, arXiv 1603.05766 (the p-value).
        Chwialkowski, Ramdas, Sejdinovic and Gretton, "Fast Two-Sample Testing with Analytic Representations of
        Probability Measures", NeurIPS 2015, arXiv 1506.04725 (characteristic functions at random frequencies).

    >>> x = torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
    >>> two_sample_test(x[:50], x[50:] + 2).p_value
    0.001
    """
    _check(x, y)
    check_fraction(amplitude_weight, "amplitude_weight")
    check_at_least(permutations, 1, "permutations")
    draws = named_generator(0, "two-sample") if generator is None else generator
    device = torch.device("cpu") if x.device.type == "mps" else x.device
    x, y = (rows.to(device, torch.float64) for rows in (x, y))
    pooled = torch.cat([x, y])
    t = _frequencies(frequencies, pooled, num_frequencies, scale, draws)
    chosen = _shares(len(x), len(y), permutations, draws, device)
    values = _discrepancies(pooled, t, chosen, amplitude_weight)
    observed, permuted = values[0], values[1:].cpu()
    reached = int((permuted >= observed.cpu() - _ROUNDING).sum())
    return TwoSampleResult(float(observed), (1 + reached) / (1 + permutations), permutations, permuted)


def _check(x: Tensor, y: Tensor) -> None:
    check_matrix_pair(x, y, "samples")
    if x.ndim != 2:
        raise InputError(f"Expected two matrices (n, d) and (m, d), got {tuple(x.shape)} and {tuple(y.shape)}.")
    if x.device != y.device:
        raise InputError(f"Expected both samples on one device, got {x.device} and {y.device}; move one with .to().")
    for rows, name in ((x, "x"), (y, "y")):
        if rows.is_complex():
            raise InputError(f"Expected real numbers, {name} is {rows.dtype}; give real and imaginary part as columns.")
        check_finite(rows, name)


def _frequencies(
    given: FrequencySampler | Tensor | None, pooled: Tensor, number: int, scale: float | None, draws: Generator
) -> Tensor:
    """The frequencies (k, d) of the test: as given, drawn by a sampler, or Gaussian; symmetric in x and y."""
    if given is None:
        check_at_least(number, 1, "num_frequencies")
        if scale is None:
            # Rows are picked regardless of their sample: otherwise the permutations would not be exchangeable.
            picked = torch.randperm(len(pooled), generator=draws, device=draws.device)[:ROWS_FOR_MEDIAN]
            some = pooled[picked.to(pooled.device)]
            scale = 1 / float(median_bandwidth(some[:1], some[1:]))
        check_positive(scale, "scale")
        z = torch.randn(number, pooled.shape[1], generator=draws, device=draws.device, dtype=torch.float64)
        return scale * z.to(pooled.device)
    t = given if isinstance(given, Tensor) else given.sample(draws)
    if t.ndim != 2 or t.shape[1] != pooled.shape[1] or not len(t):
        raise InputError(f"Expected frequencies of shape (k, {pooled.shape[1]}), got {tuple(t.shape)}.")
    return t.to(pooled)


def _shares(n: int, m: int, permutations: int, draws: Generator, device: torch.device) -> Tensor:
    """Which pooled rows are x, (1 + permutations, n + m) bool: first as they are, then n of them at random."""
    chosen = torch.zeros(1 + permutations, n + m, dtype=torch.bool)
    chosen[0, :n] = True
    for row in chosen[1:]:
        row[torch.randperm(n + m, generator=draws, device=draws.device)[:n].cpu()] = True
    return chosen.to(device)


def _discrepancies(pooled: Tensor, t: Tensor, chosen: Tensor, amplitude_weight: float) -> Tensor:
    """`ncfd` of every share of the rows, (shares,).

    The sums over a share's rows are a product of its 0s and 1s with cos and sin of the projections, which all shares
    have in common; those of the other side are what is left of the total.
    """
    rows, n = len(pooled), int(chosen[0].sum())
    values = pooled.new_zeros(len(chosen))
    for part in t.split(max(MAX_PROJECTIONS // (2 * rows), 1)):
        projections = pooled @ part.T  # (rows, part)
        waves = torch.cat([projections.cos(), projections.sin()], dim=1)  # (rows, 2 part)
        total = waves.sum(0)
        for start in range(0, len(chosen), step := max(MAX_PROJECTIONS // rows, 1)):
            sums = chosen[start : start + step].to(waves.dtype) @ waves  # (shares, 2 part)
            phi_x = Phi(*(sums / n).chunk(2, dim=1))
            phi_y = Phi(*((total - sums) / (rows - n)).chunk(2, dim=1))
            gaps = ncfd_from_phi(phi_x, phi_y, amplitude_weight=amplitude_weight)
            values[start : start + step] += gaps * (len(part) / len(t))
    return values
