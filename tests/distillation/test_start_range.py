"""Where students start, and how far their targets may lie."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.distillation import StartRange, check_epochs


def test_starts_cover_their_range():
    rng, start = generator(0, "starts"), StartRange(1, 4)
    assert {start.draw(0, rng) for _ in range(100)} == {1, 2, 3, 4}


def test_the_range_grows_to_its_end():
    start, highest = StartRange(1, 9, first_high=3, growth=6), []
    for iteration in range(9):
        rng = generator(0, "starts")
        drawn = {start.draw(iteration, rng) for _ in range(300)}
        assert min(drawn) == 1
        highest.append(max(drawn))
    assert highest == [3, 4, 5, 6, 7, 8, 9, 9, 9]


@pytest.mark.parametrize("wrong", [(2, 1, None), (0, 4, 5), (2, 4, 1)])
def test_ranges_that_are_none_are_refused(wrong):
    with pytest.raises(NcfmError, match="start_low"):
        StartRange(*wrong)


def test_targets_end_with_the_recording():
    check_epochs(StartRange(0, 2), matched_epochs=2, epochs=4)
    with pytest.raises(NcfmError, match=r"start up to epoch 3 and are compared 2 later, but experts have 4 epochs"):
        check_epochs(StartRange(0, 3), matched_epochs=2, epochs=4)
