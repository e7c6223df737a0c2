"""Gaps of the first two moments, and of the points themselves."""

from __future__ import annotations

import math

import torch

from ncfm._utils.checks import check_matrix_pair
from ncfm._utils.types import Features, PerGroup
from ncfm.discrepancy.precision import in_single


def mean_gap(x: Features, y: Features) -> PerGroup:
    r"""Squared distance of the means, :math:`\|\mathrm{mean}(x) - \mathrm{mean}(y)\|^2`.

    Reference:
        Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023.
    """
    check_matrix_pair(x, y)
    x, y = in_single(x, y)
    return (x.mean(-2) - y.mean(-2)).square().sum(-1)


def paired_gap(x: Features, y: Features) -> PerGroup:
    r"""Mean squared distance of pairs, :math:`\frac{1}{m} \sum_j \|y_j - x_{j \bmod n}\|^2`: point matching.

    Row j of y goes with row j mod n of x. Real batches are drawn in random order, so the pairing is a random one, and
    the order of the rows matters: the only discrepancy here that does not compare distributions. It is 0 only where
    every pair coincides, and its expectation is smallest for y at the mean of x.

    Args:
        x: (..., n, d) real features.
        y: (..., m, d) synthetic features; the mean is over these rows.

    Raises:
        NcfmError: if shapes do not fit.
    """
    check_matrix_pair(x, y)
    x, y = in_single(x, y)
    partner = torch.arange(y.shape[-2], device=x.device) % x.shape[-2]
    return (y - x[..., partner, :]).square().sum(-1).mean(-1)


def covariance_gap(x: Features, y: Features) -> PerGroup:
    r"""Squared Frobenius distance of the covariance matrices (of 1/n, not 1/(n - 1)), :math:`\|S_x - S_y\|_F^2`.

    With the centred rows :math:`\bar X, \bar Y` it is

    .. math:: \frac{\|\bar X \bar X^T\|_F^2}{n^2} + \frac{\|\bar Y \bar Y^T\|_F^2}{m^2}
              - 2 \frac{\|\bar X \bar Y^T\|_F^2}{n m},

    products of n x n, m x m and n x m at a cost of O((n^2 + n m + m^2) d). The d x d matrices themselves are formed
    only where they cost less, O((n + m) d^2), which is where d is below about n + m.

    Args:
        x: (..., n, d).
        y: (..., m, d).

    Returns:
        (...). From the products it is right to rounding of the squared norms of both matrices, and where they agree it
        may come out that much below 0: cut off, it would lose its gradient too.

    Raises:
        NcfmError: if shapes do not fit.

    Reference:
        Li et al., "Diversified Semantic Distribution Matching for Dataset Distillation", ACM MM 2024 (the gap).
    """
    check_matrix_pair(x, y)
    x, y = in_single(x, y)
    n, m, d = x.shape[-2], y.shape[-2], x.shape[-1]
    x, y = ((z - z.mean(-2, keepdim=True)) / math.sqrt(z.shape[-2]) for z in (x, y))
    if (n + m) * d < n * n + n * m + m * m:
        return (x.mT @ x - y.mT @ y).square().sum((-2, -1))
    of_x, of_y, shared = ((a @ b.mT).square().sum((-2, -1)) for a, b in ((x, x), (y, y), (x, y)))
    return of_x + of_y - 2 * shared
