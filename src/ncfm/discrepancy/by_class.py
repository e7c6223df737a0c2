"""Comparisons of two labelled samples, class by class."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ncfm._utils.checks import InputError


def by_class(
    compare: Callable[[Tensor, Tensor, Tensor], Tensor],
    x: Tensor,
    y: Tensor,
    t: Tensor,
    labels: tuple[Tensor, Tensor] | None,
) -> Tensor:
    """A comparison of two samples, or with labels of those of every class, (C,) in ascending order.

    Args:
        compare: takes rows x, rows y and frequencies.
        x: (..., n, d); (n, d) with labels.
        y: (..., m, d); (m, d) with labels.
        t: (k, d).
        labels: classes of the rows, (n,) and (m,).

    Raises:
        NcfmError: for labels of other shapes, or a class on one side only.
    """
    if labels is None:
        return compare(x, y, t)
    classes = _common_classes(x, y, *labels)
    return torch.stack([compare(x[labels[0] == c], y[labels[1] == c], t) for c in classes])


def _common_classes(x: Tensor, y: Tensor, of_x: Tensor, of_y: Tensor) -> list[int]:
    """The classes of both sides, ascending."""
    if x.ndim != 2 or of_x.shape != x.shape[:1] or of_y.shape != y.shape[:1]:
        raise InputError(
            f"labels go with samples (n, d) and (m, d), one label a row; got {tuple(of_x.shape)} and "
            f"{tuple(of_y.shape)} for samples {tuple(x.shape)} and {tuple(y.shape)}."
        )
    classes, others = (sorted(set(labels.tolist())) for labels in (of_x, of_y))
    if classes != others:
        lone = sorted(set(classes) ^ set(others))
        raise InputError(f"Classes {lone} are on one side only; give both sides rows of every class.")
    return classes
