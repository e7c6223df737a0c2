"""Held-out parts: stratified, disjoint and complete; by content, they stay where they are when images are added."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.data import ImageSet, ImageSplit, carve_validation, digests
from ncfm.data.digests import image_digests
from ncfm.data.splitting import carve_by_content, with_test_split


def numbered_split(counts):
    """A split with these class sizes, whose images hold their own number."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return ImageSplit.of(images, labels, len(counts))


def random_split(counts, seed=0):
    """A split with these class sizes, of images of random pixels, which are all different."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    images = torch.randint(0, 256, (len(labels), 3, 4, 4), dtype=torch.uint8, generator=generator(seed))
    return ImageSplit.of(images, labels, len(counts))


def joined(a, b):
    """One split of the images of two."""
    return ImageSplit.of(torch.cat([a.images, b.images]), torch.cat([a.labels, b.labels]), len(a.counts))


def numbers(split):
    return split.images[:, 0, 0, 0].tolist()


def pixels(split):
    """The images with their labels, as a set."""
    return {(image.numpy().tobytes(), int(label)) for image, label in zip(split.images, split.labels, strict=True)}


def expected_hash(image):
    """Written out again: the first 8 bytes of SHA-256 of a key and the pixels, as a fraction of their range."""
    digest = hashlib.sha256(b"ncfm test split" + np.ascontiguousarray(image.numpy()).tobytes()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class_sizes = st.lists(st.integers(1, 20), min_size=2, max_size=5).filter(lambda c: max(c) > 1)


# --- at random, for tuning ----------------------------------------------------------------------------------


@given(counts=class_sizes, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 50))
def test_validation_is_stratified_disjoint_and_complete(counts, fraction, seed):
    split = numbered_split(counts)
    rest, held = carve_validation(split, fraction, generator(seed))
    assert sorted(numbers(rest) + numbers(held)) == list(range(len(split)))
    for part in (rest, held):
        assert all(split.labels[i] == c for i, c in zip(numbers(part), part.labels, strict=True))
    for count, number in zip(counts, held.counts.tolist(), strict=True):
        expected = 0 if count == 1 else min(max(round(fraction * count), 1), count - 1)
        assert number == expected


def test_validation_is_reproducible_and_not_just_the_first_images():
    split = numbered_split((30, 30))
    held = [set(numbers(carve_validation(split, 0.2, generator(s))[1])) for s in range(20)]
    assert held[0] == set(numbers(carve_validation(split, 0.2, generator(0))[1]))
    # 12 of 60 images in each of 20 draws: all but 60 * 0.8 ** 20 = 0.7 are held out at least once.
    assert len(set.union(*held)) >= 54


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_outside_of_0_to_1_is_refused(fraction):
    split = numbered_split((5, 1, 9, 3))
    for carve in (lambda: carve_validation(split, fraction, generator(0)), lambda: carve_by_content(split, fraction)):
        with pytest.raises(NcfmError, match=r"must lie in \(0, 1\)"):
            carve()


# --- by content, for testing --------------------------------------------------------------------------------


def test_an_image_is_held_out_by_its_hash_alone():
    split = random_split((200, 300))
    rest, held = carve_by_content(split, 0.2)
    expected = [expected_hash(image) < 0.2 for image in split.images]
    assert torch.equal(held.images, split.images[torch.tensor(expected)])  # in the order of the data
    assert torch.equal(rest.images, split.images[~torch.tensor(expected)])
    assert pixels(rest) | pixels(held) == pixels(split)
    assert held.counts.sum() == sum(expected)


@given(counts=class_sizes, fraction=st.floats(0.01, 0.99), seed=st.integers(0, 50))
def test_every_class_has_images_on_both_sides(counts, fraction, seed):
    split = random_split(counts, seed)
    rest, held = carve_by_content(split, fraction)
    assert pixels(rest) | pixels(held) == pixels(split)
    assert len(rest) + len(held) == len(split)
    for count, kept, out in zip(counts, rest.counts.tolist(), held.counts.tolist(), strict=True):
        assert kept + out == count
        assert kept >= 1
        assert out >= 1 or count == 1


def test_the_share_is_the_fraction_up_to_chance():
    counts, fraction = (4000, 2000, 1000), 0.2
    _, held = carve_by_content(random_split(counts), fraction)
    for count, number in zip(counts, held.counts.tolist(), strict=True):
        deviation = (count * fraction * (1 - fraction)) ** 0.5  # of a binomial distribution
        assert abs(number - fraction * count) < 4 * deviation


@pytest.mark.parametrize("seed", range(5))
def test_added_images_move_no_other_image(seed):
    split, more = random_split((40, 50), seed), random_split((7, 30), seed + 100)
    rest, held = carve_by_content(split, 0.2)
    later_rest, later_held = carve_by_content(joined(split, more), 0.2)
    assert pixels(rest) < pixels(later_rest)
    assert pixels(held) <= pixels(later_held)
    # The other way round: removed images move none either.
    assert pixels(later_rest) - pixels(more) == pixels(rest)
    assert pixels(later_held) - pixels(more) == pixels(held)


def test_a_moved_or_renamed_image_stays_on_its_side():
    split = random_split((40, 50))
    _, held = carve_by_content(split, 0.2)
    turned = ImageSplit.of(split.images, 1 - split.labels, 2)
    _, later = carve_by_content(turned, 0.2)
    assert pixels(later) == {(image, 1 - label) for image, label in pixels(held)}


@given(counts=class_sizes, copies=st.integers(2, 4), fraction=st.floats(0.05, 0.95))
def test_copies_of_an_image_are_on_the_same_side(counts, copies, fraction):
    split = random_split(counts)
    copied = ImageSplit.of(split.images.repeat(copies, 1, 1, 1), split.labels.repeat(copies), len(counts))
    rest, held = carve_by_content(copied, fraction)
    assert not pixels(rest) & pixels(held)
    assert len(rest) + len(held) == len(copied)
    alone = carve_by_content(split, fraction)
    assert (pixels(rest), pixels(held)) == (pixels(alone[0]), pixels(alone[1]))


def test_copies_in_another_class_are_on_the_same_side():
    split = random_split((60, 60))
    images = torch.cat([split.images, split.images[:60]])
    copied = ImageSplit.of(images, torch.cat([split.labels, torch.ones(60, dtype=torch.int64)]), 2)
    rest, held = carve_by_content(copied, 0.2)
    assert not {image for image, _ in pixels(rest)} & {image for image, _ in pixels(held)}


def test_small_classes():
    """One image, or copies of one, are for training; of two, the one with the lower hash is held out."""
    split = random_split((1, 2))
    copies = ImageSplit.of(split.images[[0, 0, 0, 1, 2]], torch.tensor([0, 0, 0, 1, 1]), 2)
    for fraction in (1e-9, 1 - 1e-9):  # all hashes lie above, or below
        rest, held = carve_by_content(copies, fraction)
        assert rest.counts.tolist() == [3, 1]
        assert held.counts.tolist() == [0, 1]
        assert torch.equal(held.images[0], min(split.images[1:], key=expected_hash))


def test_a_class_of_no_images_is_left_alone():
    split = random_split((30, 30))
    wider = ImageSplit.of(split.images, split.labels * 2, 3)
    rest, held = carve_by_content(wider, 0.2)
    assert (rest.counts[1], held.counts[1]) == (0, 0)


def test_a_test_split_is_set_aside_where_there_is_none(digits):
    whole = ImageSet("mine", digits.train, None, digits.class_names)
    made, again = (with_test_split(whole, 0.2) for _ in range(2))
    assert torch.equal(made.test.images, again.test.images)
    assert len(made.train) + len(made.test) == len(whole.train)
    note = f"no test split: {len(made.test)} of {len(whole.train)} images (about 20% of every class"
    assert made.problems[-1].startswith(note)
    assert "were set aside" in made.problems[-1]
    assert made.class_names == whole.class_names


# --- hashes of images ---------------------------------------------------------------------------------------


def test_digests_are_those_of_the_pixels_in_parts_of_any_size(monkeypatch):
    images = random_split((10, 13)).images
    expected = [hashlib.sha256(b"key" + image.numpy().tobytes()).digest() for image in images]
    assert list(image_digests(images, b"key")) == expected
    monkeypatch.setattr(digests, "ROWS_AT_ONCE", 7)
    assert list(image_digests(images.permute(0, 1, 3, 2).contiguous().permute(0, 1, 3, 2), b"key")) == expected
