"""Selections of real images: herding against a loop, and the same storage for everybody."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._checks import NcfmError
from ncfm._seeding import generator
from ncfm.baselines import SELECTIONS, herding, select, selection
from ncfm.baselines.selection import herd
from ncfm.data.images import ImageSplit, normalize, to_float, to_uint8
from ncfm.distillation import distill
from ncfm.objectives import MeanMatching
from strategies import normal, properties, seeds
from tiny import few, random_pool

N = 8  # training images a class


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, N)


@pytest.fixture(scope="module")
def pool(images):
    return random_pool(images)


@pytest.fixture
def choose(images, pool):
    def take(method, ipc=2, factor=2, seed=0):
        return select(method, images, pool, ipc=ipc, factor=factor, generator=generator(seed))

    return take


def herding_loop(rows, count):
    """Each time the unused row that brings the mean of the chosen nearest to the mean of all; plain numbers."""
    width = len(rows[0])
    mean = [sum(row[j] for row in rows) / len(rows) for j in range(width)]
    chosen = []
    for step in range(1, count + 1):
        distances = {}
        for i, row in enumerate(rows):
            if i not in chosen:
                total = [sum(rows[c][j] for c in chosen) + row[j] for j in range(width)]
                distances[i] = sum((m - t / step) ** 2 for m, t in zip(mean, total, strict=True))
        chosen.append(min(distances, key=distances.get))
    return chosen


# --- herding ------------------------------------------------------------------------------------------------


@properties
@given(seeds, st.integers(1, 12), st.integers(1, 5), st.data())
def test_herding_is_the_loop(seed, n, d, data):
    rows = normal(seed, n, d)
    count = data.draw(st.integers(1, n))
    assert herding(rows, count).tolist() == herding_loop(rows.tolist(), count)


def test_herding_starts_at_the_row_nearest_to_the_mean():
    rows = normal(3, 50, 4)
    nearest = (rows - rows.mean(0)).norm(dim=1).argmin()
    assert herding(rows, 1).tolist() == [int(nearest)]


def test_herding_takes_no_row_twice():
    rows = normal(1, 20, 3)
    assert sorted(herding(rows, 20).tolist()) == list(range(20))
    same = torch.ones(6, 2)  # all alike: every row is the best at every step
    assert sorted(herding(same, 6).tolist()) == list(range(6))


def test_a_longer_herd_begins_with_the_shorter():
    rows = normal(2, 30, 5)
    assert herding(rows, 12)[:4].tolist() == herding(rows, 4).tolist()


def test_a_herd_follows_the_mean_better_than_chance():
    rows = normal(5, 400, 8)
    gap = (rows[herding(rows, 10)].mean(0) - rows.mean(0)).norm()
    order = torch.randperm(400, generator=generator(0)).split(10)
    by_chance = min((rows[part].mean(0) - rows.mean(0)).norm() for part in order)  # the best of 40
    assert gap < by_chance


def test_herding_looks_at_the_first_trained_teacher(choose, images, pool):
    network = pool.trained(0)
    chosen = choose("herding", ipc=3).images
    for label in range(10):
        of_class = to_float(images.train.of_class(label))
        features = network.forward_features(normalize(of_class, images.statistics))
        features = features / features.norm(dim=1, keepdim=True)
        expected = of_class[herding_loop(features.tolist(), 3)]
        assert torch.equal(chosen[label], expected)


def test_herding_draws_nothing(choose):
    assert torch.equal(choose("herding", seed=0).images, choose("herding", seed=1).images)


# --- random images and mosaics ------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["random", "herding"])
def test_picks_are_different_training_images_of_their_class(choose, images, method):
    chosen = choose(method, ipc=5)
    for label in range(10):
        own = images.train.of_class(label).flatten(1).tolist()
        picks = to_uint8(chosen.images[label]).flatten(1).tolist()
        places = [own.index(pick) for pick in picks]  # ValueError if it is none of them
        assert len(set(places)) == 5


def test_random_picks_follow_the_generator(choose):
    assert torch.equal(choose("random", seed=1).images, choose("random", seed=1).images)
    assert not torch.equal(choose("random", seed=1).images, choose("random", seed=2).images)


@pytest.mark.parametrize("factor", [1, 2])
def test_the_mosaic_is_the_start_of_the_distillation(images, pool, factor):
    chosen = select("mosaic", images, pool, ipc=2, factor=factor, generator=generator(7, "init"))
    result = distill(images, pool, MeanMatching(), ipc=2, factor=factor, iterations=0, seed=7)
    assert torch.equal(chosen.images, result.start.images)
    assert chosen.factor == result.start.factor
    assert torch.equal(chosen.decoded().images, result.start.decoded().images)


@pytest.mark.parametrize("method", SELECTIONS)
def test_everybody_has_the_same_storage(choose, images, method):
    chosen = choose(method)
    assert chosen.images.shape == (10, 2, 1, 8, 8)
    assert chosen.images.dtype == torch.float32
    assert chosen.decoded_ipc == (8 if method == "mosaic" else 2)
    assert chosen.class_names == images.class_names
    assert chosen.statistics == images.statistics
    assert chosen.facts["method"] == method
    assert chosen.decoded().labels.tolist() == sorted(chosen.decoded().labels.tolist())


@pytest.mark.parametrize("method", SELECTIONS)
def test_a_whole_class_can_be_taken(choose, method):
    ipc = N // 4 if method == "mosaic" else N
    assert choose(method, ipc=ipc).ipc == ipc


@pytest.mark.parametrize("method", SELECTIONS)
def test_more_than_a_class_has_is_refused(choose, method):
    ipc = N // 4 + 1 if method == "mosaic" else N + 1
    with pytest.raises(NcfmError, match=f"at least .* real images in every class, but class '0' has {N}; lower --ipc"):
        choose(method, ipc=ipc)


def test_herding_takes_a_rare_class_more_than_once(images):
    few = images.train.labels.bool() | (torch.arange(len(images.train)) < 2)  # two of class 0
    rare = dataclasses.replace(
        images, train=ImageSplit.of(images.train.images[few], images.train.labels[few], images.num_classes)
    )
    pool = random_pool(rare)
    with pytest.warns(UserWarning, match="taken more than once"):
        chosen = herd(rare, pool, 3)
    assert torch.equal(chosen[0, 2], chosen[0, 0])
    assert not torch.equal(chosen[0, 1], chosen[0, 0])


@pytest.mark.parametrize("method", SELECTIONS)
def test_no_images_are_refused(choose, method):
    with pytest.raises(NcfmError, match="must be at least 1"):
        choose(method, ipc=0)


def test_an_unknown_selection_names_the_nearest(choose):
    with pytest.raises(NcfmError, match=r"Unknown selection 'hering'. Did you mean 'herding'"):
        choose("hering")


@pytest.mark.parametrize("method", SELECTIONS)
def test_the_test_split_is_not_looked_at(images, pool, choose, method):
    train_only = selection.ImageSet(images.name, images.train, None, images.class_names)
    alone = select(method, train_only, pool, ipc=2, factor=2, generator=generator(0))
    assert torch.equal(alone.images, choose(method).images)
