r"""The best linear test between two samples of random features, in closed form.

With fixed frequencies t a sample has the features :math:`\varphi(x) = [\cos\langle t, x\rangle, \sin\langle t,
x\rangle] / \sqrt{k}`, and the squared gap of characteristic functions is the squared distance of their means. An
adversary that weights these features to separate the samples best, at a given noise, needs no training: it is Fisher's
discriminant.

Reference:
    Jitkrittum et al., "Interpretable Distribution Features with Maximum Testing Power", NeurIPS 2016; Kuebler et al.,
    "A Witness Two-Sample Test", AISTATS 2022.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ncfm._utils.checks import check_matrix_pair, check_positive
from ncfm._utils.types import Features, Frequencies, PerGroup
from ncfm.discrepancy.precision import in_single

_TINY = 1e-12  # of the shrinkage, for samples without any spread


def random_features(x: Features, t: Frequencies) -> Tensor:
    r""":math:`[\cos\langle t, x\rangle, \sin\langle t, x\rangle] / \sqrt{k}` of every row, (..., n, 2k); of norm 1.

    >>> random_features(torch.zeros(1, 3), torch.ones(4, 3)).tolist()
    [[0.5, 0.5, 0.5, 0.5, 0.0, 0.0, 0.0, 0.0]]
    """
    x, t = in_single(x, t)
    projections = (x.flatten(0, -2) @ t.T).unflatten(0, x.shape[:-1])
    return torch.cat([projections.cos(), projections.sin()], dim=-1) / math.sqrt(len(t))


def pooled_covariance(u: Tensor) -> Tensor:
    """The covariance (q, q) of rows around the mean of their group, pooled over the groups of u (..., n, q)."""
    centred = (u - u.mean(-2, keepdim=True)).flatten(0, -2)
    groups = u.shape[:-2].numel()
    return centred.T @ centred / max(len(centred) - groups, 1)


def precision_weights(covariance: Tensor, shrinkage: float) -> Tensor:
    r"""The inverse of a shrunk covariance with a mean eigenvalue of 1.

    .. math:: W = c (S + \lambda I)^{-1}, \qquad \lambda = \rho \, \mathrm{tr}(S) / q, \qquad \mathrm{tr}(W) = q

    Args:
        covariance: S (q, q).
        shrinkage: rho above 0; towards infinity W becomes the identity.
    """
    check_positive(shrinkage, "shrinkage")
    q = len(covariance)
    level = shrinkage * covariance.diagonal().mean() + _TINY
    shrunk = covariance + level * torch.eye(q, dtype=covariance.dtype, device=covariance.device)
    # Without a check of the result, which waits for a GPU: what is not finite is rolled back like any other iteration.
    root, failed = torch.linalg.cholesky_ex(shrunk)
    inverse = torch.cholesky_inverse(torch.where(failed == 0, root, math.nan))
    return inverse / inverse.diagonal().mean()


def weighted_mean_gap(u: Tensor, v: Tensor, weights: Tensor) -> PerGroup:
    """d' W d with the difference d of the means of u (..., n, q) and v (..., m, q)."""
    difference = u.mean(-2) - v.mean(-2)
    return ((difference @ weights) * difference).sum(-1)


def fisher_gap(x: Features, y: Features, t: Frequencies, *, shrinkage: float) -> PerGroup:
    r"""The largest squared difference of means that a linear function of random features has, relative to its noise.

    .. math:: c \, \max_w \frac{(w^T D)^2}{w^T (S + \lambda I) w} = c \, D^T (S + \lambda I)^{-1} D,
              \qquad D = \mathrm{mean} \, \varphi(x) - \mathrm{mean} \, \varphi(y)

    S is the covariance of the features of x within their groups, pooled over the groups and not differentiated
    (by Danskin's theorem the gradient in y is that at the best w). Lambda and c are those of `precision_weights`: for
    rho towards infinity the gap becomes the mean of \|Phi_x - Phi_y\|^2 over the frequencies.

    Args:
        x: (..., n, d) real features.
        y: (..., m, d) synthetic features.
        t: (k, d).
        shrinkage: rho above 0. A small one weights directions in which real images vary little.

    Returns:
        (...), at least 0.
    """
    check_matrix_pair(x, y)
    u, v = random_features(x, t), random_features(y, t)
    with torch.no_grad():
        weights = precision_weights(pooled_covariance(u.detach()), shrinkage)
    return weighted_mean_gap(u, v, weights)
