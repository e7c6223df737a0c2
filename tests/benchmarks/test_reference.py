"""The reference loop computes what the package does, class by class, in both of its forms."""

from __future__ import annotations

import pytest
import torch
from benchmarks.reference import ReferenceLoop, characteristic_function
from torch.testing import assert_close

from ncfm import discrepancy
from ncfm._utils.seeding import generator
from ncfm.discrepancy.frequencies import GaussianFrequencies, ScaleMixtureFrequencies
from ncfm.synthetic.initialization import start_images
from strategies import rng
from tiny import WIDTH, few, random_pool


def samplers():
    return {
        "as shipped": GaussianFrequencies(WIDTH, 16),
        "learned": ScaleMixtureFrequencies(WIDTH, 16, seed_generator=rng(0)),
    }


@pytest.fixture
def loop(digits):
    images = few(digits)
    start = start_images(images, ipc=2, factor=2, init="mosaic", generator=generator(0, "init"))

    def make(form, strategy="none"):
        return ReferenceLoop(
            images.train,
            start,
            samplers()[form],
            random_pool(images),
            real_batch=4,
            factor=2,
            strategy=strategy,
            image_lr=0.01,
            adversary_lr=1e-3,
            generator=generator(0, "reference"),
        )

    return make


def test_the_characteristic_function_is_the_packages():
    x, t = torch.randn(5, 3, generator=rng(1)), torch.randn(7, 3, generator=rng(2))
    for found, expected in zip(characteristic_function(x, t), discrepancy.characteristic_function(x, t), strict=True):
        assert_close(found, expected)


def test_the_discrepancy_is_the_packages(loop):
    played = loop("as shipped")
    real, synthetic = torch.randn(6, WIDTH, generator=rng(1)), torch.randn(4, WIDTH, generator=rng(2))
    state = played.generator.get_state()
    found = played.discrepancy(real, synthetic)
    played.generator.set_state(state)
    assert_close(found, discrepancy.ncfd(real, synthetic, played.sampler.sample(played.generator)))


@pytest.mark.parametrize("form", ["as shipped", "learned"])
def test_a_class_lowers_its_loss_and_leaves_the_others(loop, form):
    played = loop(form)
    played.pool.draw(played.generator)
    before, weights = played.stored.detach().clone(), [p.detach().clone() for p in played.sampler.parameters()]
    played.match(3)
    moved = (played.stored.detach() - before).abs().amax((1, 2, 3, 4))
    assert moved[3] > 0
    assert torch.equal(moved > 0, torch.arange(10) == 3)
    for old, new in zip(weights, played.sampler.parameters(), strict=True):
        assert not torch.equal(old, new)
    assert bool(weights) == (form == "learned")


@pytest.mark.parametrize("form", ["as shipped", "learned"])
def test_iterations_keep_pixels_in_range_and_use_every_class(loop, form):
    played = loop(form, strategy="color_crop_cutout")
    before = played.stored.detach().clone()
    for _ in range(2):
        played()
    played.clamp()
    after = played.stored.detach()
    assert float(after.min()) >= 0
    assert float(after.max()) <= 1
    assert ((after - before).abs().amax((1, 2, 3, 4)) > 0).all()
