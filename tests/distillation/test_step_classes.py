"""Parts of the classes, their shares, and a step per class, as the published code does it."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from by_hand import clones
from ncfm.distillation.objective import ALL
from ncfm.distillation.objectives import MeanMatching
from ncfm.distillation.step_classes import StepClasses
from ncfm.synthetic.formation import Formation
from tiny import Frozen, Recorder, make_step, random_pool


@pytest.mark.parametrize("classes_per_step", [1, 3])
def test_parts_of_the_classes_add_up_to_all_of_them(images, classes_per_step):
    pool = random_pool(images, number=1)
    options = {"objective": MeanMatching(), "player": Frozen, "matching_weight": 3.0}
    whole = make_step(images, pool, **options)
    parted = make_step(images, pool, **options, classes_per_step=classes_per_step)
    expected, found = whole(), parted()
    gradients = [moved for (moved,) in parted.images.gradients]
    assert len(gradients) == -(-10 // classes_per_step)
    for index, gradient in enumerate(gradients):  # a move sees its own classes alone
        own = slice(index * classes_per_step, (index + 1) * classes_per_step)
        assert gradient[own].abs().amax((1, 2, 3, 4)).min() > 0
        assert torch.count_nonzero(gradient) == torch.count_nonzero(gradient[own])
    assert_close(sum(gradients), whole.images.gradients[0][0], rtol=1e-4, atol=1e-7)
    assert float(found.discrepancy) == pytest.approx(float(expected.discrepancy), rel=1e-5)
    assert float(found.calibration) == pytest.approx(float(expected.calibration), rel=1e-5)


def test_a_step_per_class_moves_images_by_zero_gradients(make):
    rate = 1e-3
    moved = []
    for classes_per_step in (None, 1):
        played = make(lr=rate, classes_per_step=classes_per_step, calibration_weight=0.0)
        (before,) = clones(played.images.tensors)
        played()
        moved.append((played.images.tensors[0] - before).detach().abs().amax((1, 2, 3, 4)) / rate)
    assert_close(moved[0], torch.ones(10), rtol=1e-3, atol=0)  # Adam's first step is the rate
    # A class has a gradient g in one move, s, and zeros in those after it, in which m and v decay:
    #   sum over t = s .. 10 of  (1 - a) a^(t-s) g / (1 - a^t)  /  sqrt((1 - b) b^(t-s) g^2 / (1 - b^t)).
    a, b = 0.9, 0.999
    expected = [
        sum((1 - a) * a ** (t - s) / (1 - a**t) / ((1 - b) * b ** (t - s) / (1 - b**t)) ** 0.5 for t in range(s, 11))
        for s in range(1, 11)
    ]
    assert_close(moved[1], torch.tensor(expected), rtol=2e-3, atol=0)


def test_the_adversary_moves_with_every_part(make):
    played = make(player=Recorder, classes_per_step=4)
    played()
    assert len(played.adversary.gradients) == len(played.images.gradients) == 3


def test_shares_of_parts_add_up_to_that_of_the_rank():
    stored = torch.zeros(5, 3, 1, 8, 8)
    classes = StepClasses.of(8, slice(2, 7), stored, Formation(2), (3, 1, *(1, 2, 3, 1, 2), 3))
    assert classes.images_of_class == [4, 8, 12, 4, 8]
    assert (len(classes), classes.num_images) == (5, 36)
    parts = classes.parts(2)
    assert parts == [slice(0, 2), slice(2, 4), slice(4, 6)]
    assert sum(map(classes.share, parts)) == pytest.approx(5 / 8)
    assert classes.share_by_images(slice(0, 1), parts[0]) == pytest.approx(4 / 64)
    assert classes.labels(slice(3, 5), torch.device("cpu")).tolist() == [5] * 4 + [6] * 8
    assert classes.parts(None) == classes.parts(5) == [ALL]


@pytest.mark.parametrize("shares", [(8,), (4, 4), (3, 3, 2), (1,) * 8])
def test_every_image_counts_the_same_whatever_the_number_of_ranks(shares):
    counts = (1, 1, 1, 1, 3, 2, 2, 5)
    weights, first = [], 0
    for size in shares:
        stored = torch.zeros(size, 5, 1, 8, 8)
        classes = StepClasses.of(8, slice(first, first + size), stored, Formation(1), counts)
        of_class = [classes.share_by_images(slice(c, c + 1), ALL) for c in range(size)]
        weights += [share / images for share, images in zip(of_class, classes.images_of_class, strict=True)]
        assert classes.share_by_images(ALL, ALL) == pytest.approx(sum(of_class))
        first += size
    assert weights == pytest.approx([1 / sum(counts)] * 8)
