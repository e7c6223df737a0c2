"""The check of the reported interval: its share of hits, and that Student's t keeps its promise where it can."""

from __future__ import annotations

import pytest
import torch
from benchmarks.coverage import covered, wilson

from ncfm._utils.seeding import generator


def test_an_interval_holds_the_others_mean_or_not_by_hand():
    # Means 0.5, 0.5, 0.9; deviations 0.1; half width of three values 2.4843 * 0.1 = 0.248.
    seeds = [(0.4, 0.5, 0.6), (0.4, 0.5, 0.6), (0.8, 0.9, 1.0)]
    # Others' means: 0.7, 0.7 (0.2 away: held), 0.5 (0.4 away: not).
    assert covered(seeds) == [True, True, False]


def test_wilson_by_hand():
    # Newcombe, "Two-sided confidence intervals for the single proportion", Statistics in Medicine 1998: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_normal_accuracies_are_covered_95_times_of_100():
    accuracies = 0.6 + 0.01 * torch.randn(1000, 3, generator=generator(0, "accuracies"), dtype=torch.float64)
    share = sum(covered(accuracies.tolist())) / 1000
    assert share == pytest.approx(0.95, abs=0.02)  # 3 deviations of a share over 1000
