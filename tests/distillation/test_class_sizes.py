"""Unequal classes in an iteration: equal to a slow loop over the classes, in value and gradient."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.seeding import Streams
from ncfm.discrepancy.frequencies import GaussianFrequencies
from ncfm.distillation import MinMaxStep
from ncfm.distillation.class_sizes import ByGroups, EqualSizes, UnequalSizes
from ncfm.distillation.objectives import (
    CovarianceMatching,
    FisherMatching,
    KernelMatching,
    MeanMatching,
    PointMatching,
)
from ncfm.synthetic.counts import in_use
from ncfm.synthetic.initialization import start_images
from strategies import rng
from tiny import Frozen, few, grouped, mixture, random_pool

CPU = torch.device("cpu")
COUNTS = (3, 1, 2, 1, 1, 3, 2, 1, 1, 2)  # of the ten digits
OBJECTIVES = {"ncfd": mixture, "mean": MeanMatching, "mse": PointMatching, "mmd": KernelMatching}


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 12)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_objective_by_groups_is_a_loop_over_the_classes(name):
    objective = OBJECTIVES[name]()
    if objective.adversary is not None:
        objective.adversary.double()
    real = torch.randn(10, 6, 128, generator=rng(1)).double()
    synthetic = torch.randn(sum(COUNTS), 128, generator=rng(2)).double().requires_grad_()
    learned = [synthetic, *(objective.adversary.parameters() if objective.adversary is not None else ())]
    found = ByGroups(objective, COUNTS, CPU).measure(real, synthetic, rng(3))
    alone = [
        objective.measure(real[c : c + 1], part[None], rng(3))  # the same frequencies for every class
        for c, part in enumerate(synthetic.split(COUNTS))
    ]
    for value, values in zip(found, zip(*alone, strict=True), strict=True):
        if value is not None:
            torch.testing.assert_close(value, torch.cat(values), rtol=1e-8, atol=1e-10)
    weights = torch.rand(10, generator=rng(4)).double()
    slow = sum(w * one.discrepancy[0] for w, one in zip(weights, alone, strict=True))
    for a, b in zip(
        torch.autograd.grad((weights * found.discrepancy).sum(), learned, retain_graph=True),
        torch.autograd.grad(slow, learned),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10 * float(b.abs().max()))


def test_the_generator_ends_where_one_draw_leaves_it():
    real, synthetic = torch.randn(10, 6, 128), torch.randn(sum(COUNTS), 128)
    once, groups = rng(3), rng(3)
    mixture().measure(real, synthetic[:10, None], once)
    ByGroups(mixture(), COUNTS, CPU).measure(real, synthetic, groups)
    assert torch.equal(once.get_state(), groups.get_state())


def unequal_step(images, pool, player=Frozen, counts=COUNTS, **flat):
    """A step of unequal classes, and its images."""
    streams = Streams(0)
    factor = flat.get("factor", 1)
    pixels = start_images(images, ipc=counts, factor=factor, init="mosaic", generator=streams["init"]).requires_grad_()
    objective = mixture()
    adversary = player(list(objective.adversary.parameters()), None)
    flat = {"real_batch_per_class": 4, "mode": "single", "factor": factor} | flat
    step = MinMaxStep(
        images.train,
        player([pixels], torch.optim.Adam([pixels], lr=0.01)),
        adversary,
        objective=objective,
        pool=pool,
        streams=streams,
        counts=counts,
        **grouped("formation", "matching", "extraction", "compute", **flat),
    )
    return step, pixels, objective


@pytest.mark.parametrize("images_per_pass", [None, 6])
@pytest.mark.parametrize(("factor", "mode"), [(1, "single"), (2, "single"), (2, "multi")])
def test_an_iteration_is_a_loop_over_the_classes(images, factor, mode, images_per_pass):
    options = {"factor": factor, "mode": mode, "gradient_chunk_size": images_per_pass}
    step, pixels, objective = unequal_step(images, random_pool(images), **options)
    assert (len(step.gradients.passes()) == 1) == (images_per_pass is None)
    record = step()
    (found,), theirs = step.images.gradients[0], step.adversary.gradients[0]

    # The same draws again, class by class.
    again, pixels, objective = unequal_step(images, random_pool(images), factor=factor, mode=mode)
    again.pool.draw(again.streams["teachers"], "blended")
    draw = again.views.augment.draw(10, 8, again.streams["augment"])
    real = again.real.features(draw, again.streams["batches"])
    again.pool.draw_trained(again.streams["calibration"])
    state = again.streams["frequencies"].get_state()
    values, logits, labels = [], [], []
    for c, count in enumerate(COUNTS):
        own = slice(c, c + 1)
        decoded = again.views.formation.decode(pixels[own, :count])
        training = again.views.augment.apply(again.views.normalize(decoded), draw.of(own))
        features = again.extract(training.flatten(0, 1))[None]
        again.streams["frequencies"].set_state(state)
        values.append(objective.discrepancy(real[own], features, again.streams["frequencies"]))
        logits.append(again.pool.classify(training.flatten(0, 1)))
        labels += [c] * training.shape[1]
    discrepancy = torch.cat(values)
    calibration = F.cross_entropy(torch.cat(logits), torch.tensor(labels))
    loss = discrepancy.sum() + calibration  # as `grouped` weights them
    (slow,) = torch.autograd.grad(loss, [pixels], retain_graph=True)
    of_adversary = torch.autograd.grad(discrepancy.sum(), list(objective.adversary.parameters()))

    torch.testing.assert_close(record.discrepancy, discrepancy.detach().mean(), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(record.calibration, calibration.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found, slow, rtol=1e-3, atol=1e-5 * float(slow.abs().max()))
    for a, b in zip(theirs, of_adversary, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * float(b.abs().max()))
    assert bool((found[~in_use(COUNTS, 3)] == 0).all())  # of the places that are not in use


def test_equal_counts_among_unequal_ones_have_the_features_of_equal_ones():
    flat = torch.randn(20, 3, generator=rng())
    assert torch.equal(EqualSizes(2).features(flat), flat.view(10, 2, 3))
    images = torch.randn(10, 2, 1, 4, 4, generator=rng())
    every = UnequalSizes(torch.ones(10, 2, dtype=torch.bool), CPU)
    assert torch.equal(every.images(images), EqualSizes(2).images(images))
    assert torch.equal(every.labels(torch.arange(10)), EqualSizes(2).labels(torch.arange(10)))


def test_what_needs_equal_classes_is_refused(images):
    pool = random_pool(images)
    fisher = FisherMatching(GaussianFrequencies(128, 16))
    for objective in (CovarianceMatching(10, 128), fisher):
        with pytest.raises(InputError, match="objectives without state that measure each class alone"):
            ByGroups(objective, COUNTS, CPU)
    with pytest.raises(InputError, match=r"classes_per_step and machine.compile=step need equal classes"):
        unequal_step(images, pool, classes_per_step=2)
    with pytest.raises(InputError, match=r"classes_per_step and machine.compile=step need equal classes"):
        MinMaxStep(
            images.train,
            unequal_step(images, pool)[0].images,
            None,
            objective=MeanMatching(),
            pool=pool,
            streams=Streams(0),
            counts=COUNTS,
            **grouped("formation", "matching", "extraction", factor=1),
            compute=Compute(compile_step=True),
        )
    assert unequal_step(images, pool)[0].diagnose() is None
