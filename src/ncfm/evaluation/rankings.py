"""Rank correlations of two measurements of the same items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.seeding import generator
from ncfm.evaluation.statistics import Estimate


class RankCorrelation(NamedTuple):
    """Agreement of the orders of two measurements, from -1 (reversed) to 1 (equal)."""

    spearman: Estimate  # rho: correlation of the ranks
    kendall: Estimate  # tau-b: share of pairs in the same order minus share of pairs in the opposite order


def rank_correlation(
    x: Sequence[float], y: Sequence[float], *, resamples: int = 2000, seed: int = 0
) -> RankCorrelation:
    """Spearman's rho and Kendall's tau-b of two measurements of the same items, with bootstrap 95 % intervals.

    For an architecture search: x the accuracies of N networks after training on the synthetic set, y those after
    training on the full one. Ties count as half in order, half out of order (mid-ranks; tau-b).

    An interval contains the middle 95 % of the values in ``resamples`` draws of N items with replacement. It accounts
    for the choice of items, not for the errors of the accuracies themselves, and is rough for fewer than about 20
    items. Draws in which x or y is constant have no ranking and are ignored.

    Args:
        x, y: (N,) numbers in any unit, N >= 3, of the same items in the same order.
        resamples: number of draws, at least 100.
        seed: of the draws.

    Raises:
        NcfmError: for fewer than 3 items, unequal lengths, values that are not finite, or all values equal.

    Reference: Kendall, "The treatment of ties in ranking problems", Biometrika 1945; Efron, "Bootstrap methods: another
    look at the jackknife", Annals of Statistics 1979.

    >>> rank_correlation([0.5, 0.6, 0.7, 0.8], [0.55, 0.71, 0.68, 0.9]).spearman.value
    0.8
    """
    check_at_least(resamples, 100, "resamples")
    if len(x) != len(y):
        raise InputError(f"Expected one x and one y for every item, got {len(x)} and {len(y)}.")
    check_at_least(len(x), 3, "number of items to rank")
    orders = [_order(values, name) for values, name in ((x, "x"), (y, "y"))]
    n = len(x)
    draws = torch.randint(n, (resamples, n), generator=generator(seed, "rank_correlation"))
    counts = torch.zeros(resamples + 1, n, dtype=torch.float64)
    counts[0] = 1  # the items themselves
    counts[1:].scatter_add_(1, draws, torch.ones(resamples, n, dtype=torch.float64))
    return RankCorrelation(_percentiles(_spearman(counts, *orders)), _percentiles(_kendall(counts, *orders)))


def _order(values: Sequence[float], name: str) -> Tensor:
    """(N, N) signs of value i minus value j."""
    column = torch.tensor(list(values), dtype=torch.float64)
    if not bool(torch.isfinite(column).all()):
        raise InputError(f"The values of {name} must be finite to be ranked; drop the items whose training diverged.")
    if bool((column == column[0]).all()):
        raise InputError(f"A ranking needs differing values; all {len(column)} of {name} are {float(column[0])}.")
    return torch.sign(column[:, None] - column[None, :])


def _spearman(counts: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B,) rho of B samples that contain item i ``counts`` (B, N) times.

    The number of values below an item minus the number above it is twice its centred mid-rank: one matrix product ranks
    all samples.
    """
    rank_x, rank_y = counts @ x.T, counts @ y.T  # (B, N)
    covariance = (counts * rank_x * rank_y).sum(1)
    return covariance / ((counts * rank_x**2).sum(1) * (counts * rank_y**2).sum(1)).sqrt()


def _kendall(counts: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(B,) tau-b of the same samples: sums over pairs of items are quadratic forms in the counts."""

    def pairs(signs: Tensor) -> Tensor:
        return ((counts @ signs) * counts).sum(1)

    return pairs(x * y) / (pairs(x.abs()) * pairs(y.abs())).sqrt()


def _percentiles(values: Tensor) -> Estimate:
    """The first value, and the ends of the middle 95 % of the others, ignoring NaN."""
    ends = torch.tensor([0.025, 0.975], dtype=values.dtype)
    low, high = torch.nanquantile(values[1:], ends).tolist()
    return Estimate(float(values[0]), low, high)
