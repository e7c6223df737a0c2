"""Pilots: they stop where they should, and see whether left and right matter."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ncfm._utils.compute import Compute
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.training import pilot as pilots
from ncfm.training.pilot import Pilot, cached_pilot, held_out, is_possible, rounds, train_pilot
from ncfm.training.recipe import TrainingRecipe
from strategies import rng

RECIPE = TrainingRecipe(epochs=1, optimizer="sgd", lr=0.1, batch_size=16, schedule="one-cycle")
NETWORK = "convnet1w8"


def sided(turned: bool) -> ImageSet:
    """Two classes of noise: a bright left or right half, or, if not ``turned``, a bright upper or lower one."""
    pixels = torch.randint(0, 60, (400, 1, 8, 8), generator=rng(3))
    if turned:
        pixels[:200, ..., :4] += 120
        pixels[200:, ..., 4:] += 120
    else:
        pixels[:200, :, :4] += 120
        pixels[200:, :, 4:] += 120
    split = ImageSplit.of(pixels.to(torch.uint8), torch.arange(2).repeat_interleave(200), 2)
    return ImageSet("sided", split, None, ("one", "other"))


@pytest.mark.parametrize("turned", [True, False])
def test_a_pilot_sees_whether_left_and_right_matter(turned):
    heard = []
    found = train_pilot(sided(turned), network=NETWORK, recipe=RECIPE, compute=Compute(), on_epoch=heard.append)
    assert found.num_held == 60
    assert found.accuracies[-1] >= pilots.TARGET  # so that it ended there
    assert found.epochs == tuple(rounds(340, RECIPE)[: len(found.epochs)])
    assert heard == list(range(1, found.epochs[-1] + 1))
    assert found.mirroring_matters is turned
    if turned:
        assert found.mirrored < 0.1
        assert found.lost >= 55
    else:
        assert abs(found.mirrored - found.accuracies[-1]) < 0.05


def test_noise_ends_when_twice_the_epochs_gain_nothing():
    images = sided(True)
    shuffled = images.train.labels[torch.randperm(400, generator=rng(1))]
    noise = replace(images, train=ImageSplit.of(images.train.images, shuffled, 2))
    found = train_pilot(noise, network=NETWORK, recipe=RECIPE, compute=Compute())
    assert len(found.accuracies) < len(rounds(340, RECIPE))
    assert not found.mirroring_matters or found.accuracies[-1] > 0.6


def test_a_pilot_is_trained_once(monkeypatch, own_cache):
    arguments = {"network": NETWORK, "recipe": RECIPE, "compute": Compute()}
    first = cached_pilot(sided(True), **arguments)
    monkeypatch.setattr(pilots, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert cached_pilot(sided(True), **arguments) == first
    assert cached_pilot(sided(True), **arguments | {"recipe": replace(RECIPE, epochs=7)}) == first
    (entry,) = (own_cache / "pilots").glob("*.json")
    entry.write_text("{}")
    with pytest.raises(pytest.fail.Exception, match="trained again"):
        cached_pilot(sided(True), **arguments)


def test_the_held_out_part_is_always_the_same_and_never_trained_on():
    images = sided(True)
    rest, held = held_out(images)
    assert (len(rest), len(held)) == (340, 60)
    assert torch.equal(held_out(images)[1].images, held.images)
    assert held.counts.tolist() == [30, 30]


@pytest.mark.parametrize(("per_class", "possible"), [(167, True), (166, False)])
def test_too_few_images_have_no_pilot(per_class, possible):
    split = ImageSplit.of(
        torch.zeros(2 * per_class, 1, 8, 8, dtype=torch.uint8), torch.arange(2).repeat_interleave(per_class), 2
    )
    assert is_possible(ImageSet("few", split, None, ("a", "b"))) is possible


@pytest.mark.parametrize(
    ("num_images", "expected"), [(1145, [9, 18, 36, 72]), (42500, [1, 2, 4]), (10**6, [1]), (20, [80])]
)
def test_rounds_by_the_number_of_steps(num_images, expected):
    assert rounds(num_images, replace(RECIPE, batch_size=64)) == expected


@pytest.mark.parametrize(
    ("lost", "gained", "matters"),
    [(100, 10, True), (45, 5, False), (46, 0, True), (44, 0, False), (300, 290, False)],
)
def test_mirroring_matters_beyond_chance_and_by_a_tenth(lost, gained, matters):
    assert Pilot((1,), (0.9,), 0.5, 500, lost, gained).mirroring_matters is matters
