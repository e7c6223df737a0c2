"""Comparison of synthetic with real images: nearest neighbours, and a projection onto a plane."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.types import Features


class Neighbours(NamedTuple):
    """The nearest reference of every query."""

    at: Tensor  # (m,) int64, its position among all references
    distance: Tensor  # (m,) Euclidean
    second: Tensor  # (m,) distance of the second nearest; infinite if there is none


def nearest(queries: Tensor, references: Iterable[Tensor], *, exclude: Tensor | None = None) -> Neighbours:
    """The nearest reference of each query; references are processed in parts, to bound memory.

    Candidates are found by matrix products, whose rounding hides small distances. The distances of the two best of each
    part are then computed from differences.

    Args:
        queries: (m, d).
        references: parts (n_i, d) of all references, in order.
        exclude: (m,) int64 position of a reference to ignore for each query, such as the query itself; -1 for none.

    Raises:
        NcfmError: if the widths differ, or there are no references.

    >>> nearest(torch.tensor([[0.9]]), [torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0]])]).at.tolist()
    [1]
    """
    m = len(queries)
    index = torch.full((m, 2), -1)
    distance = torch.full((m, 2), torch.inf)
    square = queries.square().sum(1)
    done = 0
    for part in references:
        if part.shape[1:] != queries.shape[1:]:
            raise InputError(
                f"Expected references of width {queries.shape[1]} like the queries, got {tuple(part.shape[1:])}."
            )
        gaps = square[:, None] + part.square().sum(1) - 2 * (queries @ part.T)  # (m, n_i), rounded
        if exclude is not None:
            own = exclude - done
            within = ((own >= 0) & (own < len(part))).nonzero().flatten()
            gaps[within, own[within]] = torch.inf
        best = gaps.topk(min(2, len(part)), largest=False)
        exact = (part[best.indices] - queries[:, None]).norm(dim=-1).masked_fill(best.values.isinf(), torch.inf)
        together = torch.cat([distance, exact], dim=1)
        order = together.argsort(dim=1, stable=True)[:, :2]
        distance = together.gather(1, order)
        index = torch.cat([index, best.indices + done], dim=1).gather(1, order)
        done += len(part)
    if m and bool(distance[:, 0].isinf().any()):
        raise InputError(f"Expected references for {m} queries, got {done}.")
    return Neighbours(index[:, 0], distance[:, 0], distance[:, 1])


class Plane(NamedTuple):
    """The two directions of largest variance."""

    centre: Tensor  # (d,) float64
    axes: Tensor  # (d, 2) float64, orthonormal; the largest entry of each is positive
    shares: tuple[float, float]  # of the variance, per axis

    def project(self, x: Features) -> Tensor:
        """Coordinates (n, 2) of points (n, d)."""
        return (x.double() - self.centre) @ self.axes


def principal_plane(x: Features) -> Plane:
    """The plane of the first two principal components of points (n, d).

    Computed from the eigenvectors of the covariance (d, d) or the Gram matrix (n, n), whichever is smaller.

    Raises:
        NcfmError: for fewer than 3 points or 2 dimensions, or points that are all equal.
    """
    n, d = x.shape
    centre = x.double().mean(0)
    centred = x.double() - centre
    total = float(centred.square().sum())
    if n < 3 or d < 2 or total == 0:
        raise InputError(f"A plane needs at least 3 different points of 2 dimensions, got {n} of {d}.")
    values, vectors = torch.linalg.eigh(centred.T @ centred if d <= n else centred @ centred.T)
    if d > n:
        vectors = centred.T @ vectors[:, -2:] / values[-2:].clamp_min(torch.finfo(values.dtype).tiny).sqrt()
    axes = vectors[:, -2:].flip(1)
    largest = axes.gather(0, axes.abs().argmax(0, keepdim=True))
    first, second = (float(v) / total for v in values[-2:].clamp_min(0).flip(0))
    return Plane(centre, axes * largest.sign(), (first, second))
