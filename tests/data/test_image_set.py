"""Image sets in memory: sorting, batches by class, statistics."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.datasets import load_digits

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.data import ImageSet, ImageSplit, draw_class_batches, load_images, normalize
from ncfm.data.image_set import channel_statistics, drop_empty_classes, mean_deviation, to_float, to_uint8

COUNTS = (5, 1, 9, 3)


def numbered_split(counts, *, seed=0):
    """A split with these class sizes in random order, whose images hold their own source position."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator(seed, "order"))]
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return ImageSplit.of(images, labels, len(counts)), labels


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


# --- batches ----------------------------------------------------------------------------------------------


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


# --- pixels -----------------------------------------------------------------------------------------------


def test_all_levels_survive_the_round_trip():
    levels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    floats = to_float(levels)
    assert torch.equal(floats, torch.arange(256).float().view(1, 1, 16, 16) / 255)
    assert torch.equal(to_uint8(floats), levels)


def test_floats_are_rounded_and_clamped():
    images = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 1.0, 1.5])
    assert to_uint8(images).tolist() == [0, 0, 0, 1, 255, 255]
    assert images[0] == -0.5  # the argument is left as it was


@settings(max_examples=30)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=6), elements=st.integers(0, 255)))
def test_statistics_agree_with_numpy(pixels):
    mean, std = channel_statistics(torch.from_numpy(pixels))[:2]
    values = pixels.astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=0, atol=1e-14)
    deviation = values.std((0, 2, 3))
    np.testing.assert_allclose(std, np.where(deviation < 1e-6, 1.0, deviation), rtol=0, atol=1e-14)


def test_a_constant_channel_has_deviation_one():
    images = torch.full((3, 2, 4, 4), 200, dtype=torch.uint8)
    images[0, 1, 0, 0] = 0
    mean, std = channel_statistics(images)[:2]
    assert mean[0] == pytest.approx(200 / 255, abs=1e-15)
    assert std[0] == 1.0
    assert std[1] < 1.0


def test_normalised_images_have_mean_0_and_deviation_1():
    images = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8, generator=generator(0))
    statistics = channel_statistics(images)
    values = normalize(to_float(images), statistics).double()
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(values.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)
    groups = to_float(images).view(5, 10, 3, 4, 4)  # any leading axes
    assert torch.equal(normalize(groups, statistics).flatten(0, 1), normalize(to_float(images), statistics))


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


# --- digits -----------------------------------------------------------------------------------------------


def test_digits_are_split_in_a_fixed_stratified_way(digits):
    assert (digits.num_classes, digits.channels, digits.image_size) == (10, 1, 8)
    assert len(digits.train) == 1343
    assert len(digits.require_test()) == 454
    whole = digits.train.counts + digits.require_test().counts
    assert torch.equal(whole, torch.bincount(torch.from_numpy(load_digits().target)))
    assert torch.equal(digits.require_test().counts, (whole + 3) // 4)  # every fourth, from the first on


def test_digits_are_the_17_levels_spread_over_8_bits(digits):
    bunch = load_digits()
    # 255 / 16 is no integer: level 8 is 127.5, which rounds to the even 128.
    levels = np.rint(np.arange(17) * 255 / 16).astype(np.uint8)
    assert set(digits.train.images.unique().tolist()) == set(levels.tolist())
    expected = levels[bunch.images.astype(int)]  # (1797, 8, 8)
    zeros = expected[bunch.target == 0]
    assert np.array_equal(digits.require_test().of_class(0)[:, 0].numpy(), zeros[::4])
    kept = np.arange(len(zeros)) % 4 != 0
    assert np.array_equal(digits.train.of_class(0)[:, 0].numpy(), zeros[kept])


def test_digits_by_name_are_the_same_and_cannot_be_resized(digits):
    assert load_images("digits").fingerprint == digits.fingerprint
    assert load_images("digits", image_size=8, channels=1).name == "digits"
    for other in ({"image_size": 16}, {"channels": 3}):
        with pytest.raises(NcfmError, match="grey images of 8 px"):
            load_images("digits", **other)


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


def test_the_deviation_of_images_is_the_mean_over_them(digits):
    images = dataclasses.replace(digits, deviation="images")
    pixels = digits.train.images.double().div(255).numpy()
    assert images.statistics.std == pytest.approx(pixels.std(axis=(2, 3), ddof=1).mean(0))
    assert images.statistics.mean == digits.statistics.mean
    assert images.fingerprint != digits.fingerprint


def test_a_constant_channel_is_divided_by_one():
    flat = torch.zeros(3, 2, 4, 4, dtype=torch.uint8)
    flat[:, 1, :2] = 255
    assert mean_deviation(flat) == pytest.approx((1.0, (4 / 15) ** 0.5))
