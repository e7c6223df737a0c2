"""Intervals of accuracies: Student's where it stays in [0, 1], on the logit scale where it does not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import t as student_t

from ncfm._utils.checks import InputError, NcfmError
from ncfm._utils.types import Interval
from ncfm.evaluation.statistics import accuracy_interval, interval, within_unit

fractions = st.lists(st.floats(0, 1), min_size=1, max_size=6)


@given(fractions)
def test_the_ends_are_fractions_around_the_mean(values):
    found, plain = accuracy_interval(values), interval(values)
    assert (found.mean, found.std) == (plain.mean, plain.std)
    if len(values) == 1:
        assert math.isnan(found.low)
        return
    assert 0 <= found.low <= found.mean + 1e-12
    assert found.mean - 1e-12 <= found.high <= 1
    if plain.low >= 0 and plain.high <= 1:
        assert found == plain  # rows that were right stay as they are


def test_the_logit_interval_by_hand():
    # The ends solve logit(p) = logit(m) +- t s / (sqrt(n) m (1 - m)).
    values = [0.99, 0.95, 1.0]
    found, mean, n = accuracy_interval(values), sum(values) / 3, 3
    std = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    half = student_t.ppf(0.975, n - 1) * std / (math.sqrt(n) * mean * (1 - mean))
    assert interval(values).high > 1
    for end, shift in ((found.low, -half), (found.high, half)):
        root = brentq(lambda p, s=shift: math.log(p / (1 - p)) - math.log(mean / (1 - mean)) - s, 1e-12, 1 - 1e-12)
        assert end == pytest.approx(root, abs=1e-9)


def test_it_is_the_mirror_image_of_that_of_errors():
    right, wrong = accuracy_interval([0.99, 0.95, 1.0]), accuracy_interval([0.01, 0.05, 0.0])
    assert (right.low, right.high) == pytest.approx((1 - wrong.high, 1 - wrong.low), abs=1e-12)


@pytest.mark.parametrize("values", [[0.0, 0.0], [1.0, 1.0, 1.0]])
def test_equal_values_at_an_end_have_no_width(values):
    assert accuracy_interval(values)[2:] == (values[0], values[0])


def test_extreme_spreads_stay_within():
    low, high = accuracy_interval([1e-9, 1.0])[2:]
    assert (low, high) == (pytest.approx(0, abs=1e-9), pytest.approx(1))


def test_from_a_row():
    spread = interval([0.99, 0.95, 1.0])
    row = Interval(spread.mean, spread.std, spread.low, spread.high)
    assert within_unit(row, 3) == accuracy_interval([0.99, 0.95, 1.0])


def test_percents_are_refused():
    with pytest.raises(InputError, match=r"fraction in \[0, 1\], got 98"):
        accuracy_interval([98, 99])


# --- intervals of a mean ------------------------------------------------------------------------------------

# Two-sided 95 % points of Student's t by number of values, from the printed tables (three decimals).
STUDENT_T = {2: 12.706, 3: 4.303, 5: 2.776, 10: 2.262, 31: 2.042}


@pytest.mark.parametrize("n", STUDENT_T)
def test_the_interval_by_hand(n):
    values = [0.5 + 0.01 * i for i in range(n)]
    mean = 0.5 + 0.01 * (n - 1) / 2
    std = 0.01 * math.sqrt(n * (n + 1) / 12)  # of 0, 1, ..., n - 1 with n - 1 in the denominator
    found = interval(values)
    half = STUDENT_T[n] * std / math.sqrt(n)
    assert found.mean == pytest.approx(mean)
    assert found.std == pytest.approx(std)
    assert found.low == pytest.approx(mean - half, abs=1e-3 * std)
    assert found.high == pytest.approx(mean + half, abs=1e-3 * std)


def test_one_value_has_no_interval():
    found = interval([0.3])
    assert found[:2] == (0.3, 0.0)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_values_are_refused():
    with pytest.raises(NcfmError, match="number of values must be at least 1, got 0"):
        interval([])


@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.floats(-0.5, 0.5))
def test_intervals_move_with_their_values(values, shift):
    a, b = interval(values), interval([v + shift for v in values])
    assert b.mean - a.mean == pytest.approx(shift, abs=1e-9)
    assert b.std == pytest.approx(a.std, abs=1e-9)
    assert a.low <= a.mean <= a.high
