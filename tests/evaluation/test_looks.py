"""Looks at the test split: how many, and after which epochs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncfm.evaluation.looks import looks_after
from tiny import changed


def epochs_of_looks(epochs, looks):
    protocol = changed(epochs=epochs, looks=looks)
    return {epoch for epoch in (range(1, epochs + 1) or [0]) if looks_after(protocol, epoch)}


@pytest.mark.parametrize(
    ("epochs", "looks", "expected"),
    [
        *((10, 1, {10}), (10, 2, {5, 10}), (10, 3, {4, 7, 10}), (2, 5, {1, 2}), (10, 0, {10}), (0, 1, {0})),
        (3, 10**9, {1, 2, 3}),
    ],
)
def test_looks_are_at_equal_distances_and_end_with_the_last_epoch(epochs, looks, expected):
    assert epochs_of_looks(epochs, looks) == expected


@given(st.integers(1, 300), st.integers(1, 30))
def test_there_are_as_many_looks_as_asked_for(epochs, looks):
    found = epochs_of_looks(epochs, looks)
    assert max(found) == epochs
    assert min(found) >= 1
    assert len(found) == min(looks, epochs)
