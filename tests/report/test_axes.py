"""Scales and ticks of charts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ncfm.report.axes import Scale, ticks


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_few_rising_and_within(low, span):
    high = low + span
    found = ticks(low, high)
    room = 1e-6 * max(abs(low), abs(high), span)
    assert all(low - room <= value <= high + room for value in found)
    assert found == sorted(found)
    assert len(found) <= 10


def test_ticks_are_round():
    assert ticks(0, 60) == [0, 10, 20, 30, 40, 50, 60]
    assert ticks(-0.1, 0.11) == [-0.1, -0.05, 0.0, 0.05, 0.1]
    assert ticks(1437, 1583) == [1450, 1500, 1550]


def test_a_scale_is_linear():
    assert [Scale(2.0, 4.0, 100.0, 0.0)(v) for v in (2, 3, 4)] == [100, 50, 0]
