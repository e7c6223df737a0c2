"""Maximum mean discrepancy with Gaussian kernels, and the bandwidth to give them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least, check_matrix_pair, check_positive
from ncfm._utils.types import Features, PerGroup
from ncfm.discrepancy.precision import in_single


def squared_distances(x: Features, y: Features, *, exact: bool = True) -> Tensor:
    r"""Squared Euclidean distances :math:`\|x_i - y_j\|^2` of all pairs of rows.

    Args:
        x: (..., n, d).
        y: (..., m, d).
        exact: take the differences themselves: every distance is right to its own rounding. Otherwise
            :math:`\|x\|^2 + \|y\|^2 - 2 \langle x, y \rangle` about a row of x, one matrix product and several times
            faster: all distances are right to some ten roundings of the largest one (with TF32 to a thousandth of it),
            and none is negative.

    Returns:
        (..., n, m). The gradient is 0 where two rows coincide, in both ways of computing.
    """
    x, y = in_single(x, y)
    if exact:
        # The slope of the root is undefined where rows coincide; cdist takes 0 for it, which is right for the square.
        return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()
    origin = x[..., :1, :].detach()  # distances do not depend on it, but the rounding of norms far from 0 does
    x, y = x - origin, y - origin
    squared = x.square().sum(-1)[..., :, None] + y.square().sum(-1)[..., None, :] - 2 * (x @ y.mT)
    return squared.clamp(min=0)


@torch.no_grad()
def median_bandwidth(x: Features, y: Features) -> PerGroup:
    r"""Median heuristic: the median distance between two different rows of x and y pooled, for each group.

    This is median(\|a - b\|), not sqrt(median(\|a - b\|^2) / 2), which is in use too: a pair at the median distance has
    a kernel of exp(-1/2) = .61. Of an even number of distances it is the lower of the middle two. It is always
    above 0: at least a thousandth of the root-mean-square distance (most pairs may coincide), and 1 where all rows
    coincide. It costs O((n + m)^2 d) and has no gradient.

    Args:
        x: (..., n, d).
        y: (..., m, d).

    Raises:
        NcfmError: if shapes do not fit.

    Reference:
        Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012, section 8.
    """
    check_matrix_pair(x, y)
    x, y = in_single(x, y)
    pooled = torch.cat([x, y], dim=-2)
    first, second = torch.triu_indices(pooled.shape[-2], pooled.shape[-2], 1, device=pooled.device)
    squared = squared_distances(pooled, pooled, exact=False)[..., first, second]  # (..., pairs)
    spread = squared.mean(-1).sqrt()
    return torch.where(spread > 0, torch.maximum(squared.median(-1).values.sqrt(), 1e-3 * spread), 1.0)


def gaussian_mmd(
    x: Features, y: Features, *, bandwidth: float | Sequence[float] | Tensor, exact: bool = True
) -> PerGroup:
    r"""Squared maximum mean discrepancy of the kernel :math:`\exp(-\|a - b\|^2 / (2 s^2))`, s the bandwidth.

    Of several bandwidths the kernels are averaged, and so are the discrepancies. The plain (V-statistic) estimate,
    pairs of a point with itself included, which is the one that equals the mean of \|Phi_x - Phi_y\|^2 over frequencies
    t ~ N(0, I / s^2). Quadratic cost: O((n + m)^2 d).

    Args:
        x: (..., n, d).
        y: (..., m, d).
        bandwidth: one or several numbers above 0; as a tensor () or (b,) for all groups or (..., b) for each, the last
            axis being averaged over. Whether a tensor's are above 0 is not checked: that would wait for the device.
        exact: how distances are computed, see `squared_distances`. If not, a kernel value is off by at most half the
            error of a squared distance over s^2: about 1e-6 in float32 for features of norm 1 and a bandwidth of 1.

    Raises:
        NcfmError: if shapes do not fit, or a bandwidth is not above 0.

    Reference:
        Gretton et al., "A Kernel Two-Sample Test", JMLR 13, 2012.
    """
    check_matrix_pair(x, y)
    x, y = in_single(x, y)
    widths = _bandwidths(bandwidth, x.shape[:-2])

    def mean_kernels(a: Tensor, b: Tensor) -> Tensor:
        squared = squared_distances(a, b, exact=exact)
        return torch.stack([torch.exp(squared / (-2 * s**2)).mean((-2, -1)) for s in widths]).mean(0)

    return mean_kernels(x, x) + mean_kernels(y, y) - 2 * mean_kernels(x, y)


def _bandwidths(bandwidth: float | Sequence[float] | Tensor, groups: torch.Size) -> Sequence[float | Tensor]:
    """The bandwidths to average over: numbers, or tensors that go with (..., n, m)."""
    if isinstance(bandwidth, Tensor):
        widths = bandwidth.reshape(1) if bandwidth.ndim == 0 else bandwidth
        if widths.shape[:-1] not in ((), groups) or not widths.shape[-1]:
            raise InputError(
                f"Expected bandwidths of shape (), (b,) or {(*groups, 'b')} for these groups, "
                f"got {tuple(bandwidth.shape)}."
            )
        return widths[..., None, None, :].unbind(-1)
    numbers = list(bandwidth) if isinstance(bandwidth, Sequence) else [bandwidth]
    check_at_least(len(numbers), 1, "number of bandwidths")
    for number in numbers:
        check_positive(number, "bandwidth")
    return numbers
