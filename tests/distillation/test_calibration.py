"""The calibration: its weight, its reductions, its teacher, and an update of its own."""

from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from by_hand import equal
from ncfm._utils.seeding import Streams
from ncfm.data.image_set import ImageSplit
from ncfm.distillation.objectives import MeanMatching
from strategies import rng
from tiny import Frozen, few, make_step, random_pool


def test_no_calibration_draws_no_teacher(make, pool, monkeypatch):
    monkeypatch.setattr(pool, "draw_trained", lambda _: pytest.fail("a teacher was drawn for nothing"))
    record = make(calibration_weight=0.0)()
    assert record.calibration == 0


@pytest.mark.parametrize("ascent_steps", [1, 3])
def test_calibration_says_nothing_to_psi(make, ascent_steps):
    gradients = []
    for weight in (0.0, 5.0):
        played = make(player=Frozen, calibration_weight=weight, ascent_steps=ascent_steps)
        played()
        gradients.append(played.adversary.gradients)
    assert all(equal(a, b) for a, b in zip(*gradients, strict=True))


def classes_apart(played, draw):
    """Gradient of the images (C, ipc, c, h, w) by the sum over classes of their mean cross-entropy, class by class."""
    pixels = played.images.tensors[0]
    total = 0.0
    for label in range(len(pixels)):
        seen = played.synthetic.training_images(draw.of(slice(label, label + 1)), slice(label, label + 1))[0]
        logits = played.pool.whole(seen)
        total = total - logits.log_softmax(1)[:, label].mean()
    return torch.autograd.grad(total, pixels)[0]


@pytest.mark.parametrize("num_classes", [4, 10])
def test_a_summed_calibration_weighs_a_class_alike_whatever_their_number(digits, num_classes):
    keep = torch.arange(num_classes)
    split = few(digits).train
    at = torch.isin(split.labels, keep).nonzero().flatten()
    data = few(digits)
    images = type(data)(
        "some", ImageSplit.of(split.images[at], split.labels[at], num_classes), None, data.class_names[:num_classes]
    )
    pool = random_pool(data)  # of ten classes
    flat = {"objective": MeanMatching(), "matching_weight": 0.0, "calibration_reduction": "sum", "player": Frozen}
    played = make_step(images, pool, ipc=2, augment="none", **flat)
    played()
    found = played.images.gradients[0][0]
    draw = played.views.augment.draw(num_classes, 8, rng(0))
    assert_close(found, classes_apart(played, draw), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("counts", [None, (2, 1) * 5])
def test_a_sum_of_equal_classes_is_their_mean_times_their_number(images, pool, counts):
    gradients = {}
    for reduction, weight in (("mean", 10.0), ("sum", 1.0)):
        played = make_step(
            images,
            pool,
            ipc=2,
            objective=MeanMatching(),
            player=Frozen,
            matching_weight=0.0,
            calibration_weight=weight,
            calibration_reduction=reduction,
            **({} if counts is None else {"counts": counts}),
        )
        played()
        gradients[reduction] = played.images.gradients[0][0]
    same = torch.allclose(gradients["mean"], gradients["sum"], rtol=1e-4, atol=1e-7)
    assert same is (counts is None)  # of unequal classes each image counts alike in one, each class in the other


def test_a_separate_calibration_is_an_update_of_its_own(make):
    played = make(player=Frozen, objective=MeanMatching(), calibration_step="separate", calibration_weight=2.0)
    record = played()
    matching, calibration = (gradients[0] for gradients in played.images.gradients)
    plain = make(player=Frozen, objective=MeanMatching(), calibration_weight=0.0)
    plain()
    assert_close(matching, plain.images.gradients[0][0])
    # By hand: the mean over all images, under the extractor's own teacher, with the draw of the stream "calibration".
    draw = played.views.augment.draw(10, 8, Streams(0)["calibration"], choose_each=True)
    played.pool.trained(played.pool.drawn.teacher)
    assert_close(calibration, 2.0 * classes_apart(played, draw) / 10, rtol=1e-4, atol=1e-7)
    loss = played.calibration.loss(played.synthetic.training_images(draw))
    assert float(record.calibration) == pytest.approx(loss.item(), rel=1e-5)


def test_a_separate_calibration_takes_its_steps_class_by_class_too(make):
    options = {"player": Frozen, "objective": MeanMatching(), "calibration_step": "separate"}
    whole, parts = make(**options), make(**options, classes_per_step=3)
    records = whole(), parts()
    assert len(whole.images.gradients) == 2
    assert len(parts.images.gradients) == 8  # four parts, once for each term
    assert_close(sum(g[0] for g in parts.images.gradients[4:]), whole.images.gradients[1][0], rtol=1e-4, atol=1e-7)
    assert_close(records[0].calibration, records[1].calibration)


def test_a_fresh_network_is_calibrated_by_a_random_teacher(make):
    played = make(extractor="random", calibration_step="separate")
    assert torch.isfinite(played().calibration)
    assert played.pool.drawn is None
