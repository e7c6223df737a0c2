"""Random batches by class: uniform, without repeats where possible, in one draw."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.data import ImageSplit, draw_class_batches
from sets import numbered_split

COUNTS = (5, 1, 9, 3)
ONE = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)


@given(
    counts=st.lists(st.integers(1, 12), min_size=1, max_size=6),
    size=st.integers(1, 30),
    seed=st.integers(0, 100),
)
def test_batches_stay_in_class_and_repeat_only_when_they_must(counts, size, seed):
    split, _ = numbered_split(counts)
    batch = draw_class_batches(split, size, generator(seed))
    assert batch.shape == (len(counts), size)
    for c, (row, count) in enumerate(zip(batch.tolist(), counts, strict=True)):
        assert {int(split.labels[i]) for i in row} == {c}
        first = row[:count]
        assert len(set(first)) == len(first)  # no repeats before the class is used up ...
        assert row == (first * size)[:size]  # ... and then the same order again


def test_batches_are_reproducible_and_advance():
    split, _ = numbered_split((20, 30))
    g = generator(1)
    first, second = draw_class_batches(split, 8, g), draw_class_batches(split, 8, g)
    assert torch.equal(first, draw_class_batches(split, 8, generator(1)))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("counts", [(40, 40), (40, 3)], ids=["equal", "one small class"])
def test_batches_are_uniform_over_the_whole_class(counts):
    """In both branches (all classes large enough; one too small) an image is as likely as another."""
    split, _ = numbered_split(counts)
    g, draws, size = generator(0), 1500, 8
    rows = torch.cat([draw_class_batches(split, size, g)[0] for _ in range(draws)])
    seen = torch.bincount(rows, minlength=40)[:40].double()
    expected = draws * size / 40
    # Pearson's statistic, 39 degrees of freedom: 72 is p = 0.001 (less, drawn without replacement).
    assert float(((seen - expected) ** 2 / expected).sum()) < 72


def test_the_place_in_a_batch_is_uniform_too():
    split, _ = numbered_split((10, 10))
    g = generator(0)
    firsts = torch.stack([draw_class_batches(split, 10, g)[0, 0] for _ in range(2000)])
    seen = torch.bincount(firsts, minlength=10)[:10].double()
    assert float(((seen - 200) ** 2 / 200).sum()) < 27.9  # 9 degrees of freedom, p = 0.001


def test_drawing_from_an_empty_class_is_refused():
    split = ImageSplit.of(ONE, torch.tensor([0]), 3)
    with pytest.raises(NcfmError, match=r"without training images: \[1, 2\]"):
        draw_class_batches(split, 1, generator(0))


def test_an_empty_batch_is_refused():
    split, _ = numbered_split(COUNTS)
    with pytest.raises(NcfmError, match="real_batch_per_class must be at least 1, got 0"):
        draw_class_batches(split, 0, generator(0))
