"""Normalisation layers by name."""

from __future__ import annotations

import math

from torch import nn

from ncfm._utils.checks import check_known

NORMS = ("instance", "batch", "group", "layer", "none")


def make_norm(norm: str, width: int) -> nn.Module:
    """A normalisation layer by name; instance and layer norm are group norms with ``width`` groups and one group.

    Raises:
        NcfmError: for an unknown norm.
    """
    check_known(norm, NORMS, "norm")
    if norm == "batch":
        return nn.BatchNorm2d(width)
    if norm == "none":
        return nn.Identity()
    groups = {"instance": width, "group": math.gcd(4, width), "layer": 1}[norm]
    return nn.GroupNorm(groups, width)
