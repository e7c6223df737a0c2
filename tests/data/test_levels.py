"""Levels and floats: every level survives, and floats are rounded and clamped."""

from __future__ import annotations

import torch

from ncfm.data.levels import to_float, to_uint8


def test_all_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = to_float(levels)
    assert torch.equal(floats, torch.arange(256).float().view(1, 1, 16, 16) / 255)
    assert torch.equal(to_uint8(floats), levels)


def test_floats_are_rounded_and_clamped():
    images = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.5])
    assert to_uint8(images).tolist() == [0, 0, 0, 1, 255, 255]
    assert images[0] == -0.5  # the argument is left as it was
