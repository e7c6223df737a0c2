"""Image sets in memory: sorting by class, splits, fingerprints, classes without images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import NcfmError
from ncfm.data import ImageSet, ImageSplit
from ncfm.data.image_set import drop_empty_classes
from ncfm.data.levels import to_uint8
from sets import numbered_split

COUNTS = (5, 1, 9, 3)


def source_positions(split):
    return split.images[:, 0, 0, 0].tolist()


# --- splits -----------------------------------------------------------------------------------------------


@given(labels=st.lists(st.integers(0, 4), min_size=1, max_size=60))
def test_sorting_is_by_class_and_keeps_the_order_within(labels):
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1)
    split = ImageSplit.of(images, torch.tensor(labels), 5)
    expected = sorted(range(len(labels)), key=lambda i: labels[i])  # Python's sort is stable
    assert source_positions(split) == expected
    assert split.labels.tolist() == sorted(labels)
    assert split.counts.tolist() == [labels.count(c) for c in range(5)]
    for c in range(5):
        assert split.of_class(c).flatten().tolist() == [i for i, label in enumerate(labels) if label == c]


def test_a_split_gives_floats_with_labels():
    split, _ = numbered_split(COUNTS)
    images, labels = split.labelled()
    assert images.dtype == torch.float32
    assert torch.equal(to_uint8(images), split.images)
    assert torch.equal(labels, split.labels)
    assert len(split) == sum(COUNTS)


def test_moving_a_split_keeps_everything():
    split, _ = numbered_split(COUNTS)
    moved = split.to(torch.device("cpu"))
    assert torch.equal(moved.images, split.images)
    assert torch.equal(moved.offsets, split.offsets)


def test_the_first_images_of_every_class_in_the_order_of_the_data():
    labels = torch.tensor([2, 0, 2, 0, 1, 2, 0, 2])
    pixels = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 4, 4)
    split = ImageSplit.of(pixels, labels, 3)
    first = split.first(2)
    assert first.images[:, 0, 0, 0].tolist() == [1, 3, 4, 0, 2]
    assert first.labels.tolist() == [0, 0, 1, 2, 2]
    assert first.counts.tolist() == [2, 1, 2]
    assert first.offsets.tolist() == [0, 2, 3]
    assert torch.equal(split.first(10).images, split.images)
    with pytest.raises(NcfmError, match="per_class must be at least 1"):
        split.first(0)


ONE = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (ONE.float(), torch.tensor([0]), "Expected uint8 images"),
        (ONE[0], torch.tensor([0]), "Expected uint8 images"),
        (ONE, torch.tensor([0, 1]), "with 2 labels"),
        (ONE, torch.tensor([2]), r"must lie in 0\.\.1 for 2 classes, got 2\.\.2"),
        (ONE, torch.tensor([-1]), r"got -1\.\.-1"),
        (ONE, torch.tensor([0], dtype=torch.int32), "must be int64"),
        (ONE[:0], torch.tensor([], dtype=torch.int64), "at least one image, got none"),
    ],
)
def test_wrong_splits_are_refused(images, labels, message):
    with pytest.raises(NcfmError, match=message):
        ImageSplit.of(images, labels, 2)


def test_a_single_class_is_refused():
    split = ImageSplit.of(ONE, torch.tensor([0]), 2)
    with pytest.raises(NcfmError, match=r"at least 2 classes, got 1.*single class"):
        ImageSet("lonely", split, None, ("a", "b"))


def test_a_set_without_test_split_is_reported_when_needed():
    split, _ = numbered_split(COUNTS)
    images = ImageSet("mine", split, None, tuple("abcd"))
    with pytest.raises(NcfmError, match="mine has no test split"):
        images.require_test()


def test_fingerprint_depends_on_the_training_split_and_the_names_only():
    split, _ = numbered_split(COUNTS)
    other, _ = numbered_split(COUNTS, seed=1)
    names = tuple("abcd")
    prints = [
        ImageSet("x", split, None, names).fingerprint,
        ImageSet("x", other, None, names).fingerprint,
        ImageSet("x", split, None, tuple("abce")).fingerprint,
    ]
    assert len(set(prints)) == 3
    assert ImageSet("renamed", split, other, names).fingerprint == prints[0]


# --- dropping ---------------------------------------------------------------------------------------------


def test_classes_without_training_images_are_dropped_from_both_splits():
    def split(labels):
        images = torch.tensor(labels, dtype=torch.uint8).view(-1, 1, 1, 1)
        return ImageSplit.of(images, torch.tensor(labels), 5)

    train, test, names = drop_empty_classes(split([4, 1, 1, 2]), split([0, 1, 2, 3, 4]), tuple("abcde"))
    assert names == ("b", "c", "e")
    assert source_positions(train) == [1, 1, 2, 4]
    assert train.labels.tolist() == [0, 0, 1, 2]
    assert train.counts.tolist() == [2, 1, 1]
    assert source_positions(test) == [1, 2, 4]
    assert test.labels.tolist() == [0, 1, 2]


def test_nothing_is_dropped_when_all_classes_have_images():
    split, _ = numbered_split(COUNTS)
    train, test, names = drop_empty_classes(split, None, "abcd")
    assert train is split
    assert test is None
    assert names == tuple("abcd")
