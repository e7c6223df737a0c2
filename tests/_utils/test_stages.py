"""The clock of a profile: what passes in a stage is the stage's, and nothing is measured without a clock."""

from __future__ import annotations

import pytest

from ncfm._utils.stages import StageClock, measured_by, stage


class Time:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self):
        return (self.now, 10 * self.now)


@pytest.fixture
def time():
    return Time()


def test_stages_are_summed_by_name_and_what_is_between_them_is_left_out(time):
    clock = StageClock(time)
    with measured_by(clock):
        for _ in range(2):
            with stage("a"):
                time.now += 1
            time.now += 100
            with stage("b"):
                time.now += 2
    assert clock.totals == {"a": [2, 20], "b": [4, 40]}


def test_a_stage_within_another_counts_for_itself_only(time):
    clock = StageClock(time)
    with measured_by(clock), stage("outer"):
        time.now += 1
        with stage("inner"):
            time.now += 5
        time.now += 2
    assert clock.totals == {"outer": [3, 30], "inner": [5, 50]}


def test_a_stage_ends_with_an_error(time):
    def failing():
        with stage("a"):
            time.now += 1
            raise ValueError("oh")

    clock = StageClock(time)
    with measured_by(clock):
        with pytest.raises(ValueError, match="oh"):
            failing()
        time.now += 7
        with stage("b"):
            time.now += 2
    assert clock.totals == {"a": [1, 10], "b": [2, 20]}


def test_a_reset_forgets(time):
    clock = StageClock(time)
    with measured_by(clock):
        with stage("a"):
            time.now += 1
        clock.reset()
        with stage("a"):
            time.now += 3
    assert clock.totals == {"a": [3, 30]}


def test_without_a_clock_nothing_is_measured(time):
    clock = StageClock(time)
    with stage("a"):
        time.now += 1
    with measured_by(clock):
        pass
    with stage("a"):
        time.now += 1
    assert clock.totals == {}
