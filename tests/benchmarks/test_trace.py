"""The package's step and the published loop of DANCE compute the same tensors from the same draws."""

from __future__ import annotations

import pytest
import torch

from benchmarks import trace
from ncfm import kernels
from ncfm._utils.seeding import generator
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.training.teachers import untrained_pool


@pytest.fixture(scope="module")
def images():
    pixels = torch.randint(256, (36, 3, 16, 16), dtype=torch.uint8, generator=generator(0, "noise"))
    return ImageSet("noise", ImageSplit.of(pixels, torch.arange(36) % 3, 3), None, ("a", "b", "c"))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_step_is_the_published_loop(images, seed):
    pool = untrained_pool(images, "convnet2w8", device=torch.device("cpu"))
    with kernels.switched_off():
        made = trace.make_step(images, pool, ipc=2, real_batch=4, lr=0.1, seed=seed)
        inputs, ours, draws = trace.trace(made)
        theirs = trace.published(made, inputs, draws)
    assert ours.keys() == theirs.keys()
    assert max(trace.differences(ours, theirs).values()) < 2e-5
    assert float((ours["after_matching"] - inputs["stored"]).abs().max()) > 1e-3  # something moves


def test_a_difference_is_found(images):
    pool = untrained_pool(images, "convnet2w8", device=torch.device("cpu"))
    with kernels.switched_off():
        made = trace.make_step(images, pool, ipc=2, real_batch=4, lr=0.1, seed=0)
        inputs, ours, draws = trace.trace(made)
        draws["matching"][0] = trace.Draw(0.3, 1.0, 1.0, 0, 0, (0, 0))
        apart = trace.differences(ours, trace.published(made, inputs, draws))
    assert apart["decoded"] < 1e-6
    assert apart["synthetic_augmented"] > 0.1
    assert apart["matching_gradient"] > 0.1
