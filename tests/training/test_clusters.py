"""Clusters of the classes of a training split."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.training import clusters
from ncfm.training.clusters import cluster_classes
from strategies import rng
from tiny import random_pool


def test_pixels_that_form_two_groups_are_told_apart(own_cache):
    dark, light = (torch.randint(low, low + 20, (4, 1, 8, 8), dtype=torch.uint8) for low in (0, 200))
    pixels = torch.cat([dark, light, light, dark])  # two classes, each of both
    train = ImageSplit.of(pixels, torch.tensor([0] * 8 + [1] * 8), 2)
    found = cluster_classes(
        ImageSet("groups", train, None, ("a", "b")),
        random_pool(few_like(train)),
        space="pixels",
        number=2,
        generator=rng(0),
    )
    for at in (slice(0, 8), slice(8, 16)):
        own = found[at]
        assert sorted(set(own.tolist())) == [0, 1]
        assert len(set(own[:4].tolist())) == len(set(own[4:].tolist())) == 1


def few_like(train):
    return ImageSet("like", train, None, ("a", "b"))


@pytest.mark.parametrize("space", clusters.SPACES)
def test_clusters_are_numbered_without_gaps_within_each_class(images, pool, space, own_cache):
    found = cluster_classes(images, pool, space=space, number=3, generator=rng(0))
    assert found.shape == (80,)
    for own in found.split(8):
        assert own.unique().tolist() == list(range(int(own.max()) + 1))
        assert 1 < int(own.max()) + 1 <= 3


def test_a_class_has_at_most_as_many_clusters_as_images(images, pool, own_cache):
    found = cluster_classes(images, pool, number=100, generator=rng(0))
    assert sorted(found[:8].tolist()) == list(range(8))


def test_the_cache_gives_the_same_clusters_and_draws_the_same(images, pool, own_cache, monkeypatch):
    first, again = rng(0), rng(0)
    made = cluster_classes(images, pool, number=3, generator=first)
    monkeypatch.setattr(clusters, "_cluster", lambda *a: pytest.fail("made again"))
    assert torch.equal(cluster_classes(images, pool, number=3, generator=again), made)
    assert torch.equal(first.get_state(), again.get_state())


def test_other_data_teachers_numbers_and_seeds_have_other_entries(images, pool, own_cache, monkeypatch):
    made = []
    cluster = clusters._cluster
    monkeypatch.setattr(clusters, "_cluster", lambda *a: (made.append(1), cluster(*a))[1])
    other = dataclasses.replace(images, class_names=tuple("abcdefghij"))
    for data, networks, number, seed in (
        (images, pool, 3, 0), (other, pool, 3, 0), (images, random_pool(images, network="convnet1w8-none"), 3, 0),
        (images, pool, 2, 0), (images, pool, 3, 1),
    ):  # fmt: skip
        before = len(made)
        cluster_classes(data, networks, number=number, generator=rng(seed))
        assert len(made) == before + 10


def test_teachers_see_images_by_the_normalisation_that_they_know(images, pool, own_cache):
    other = dataclasses.replace(images, deviation="images")
    found, expected = (cluster_classes(data, pool, number=3, generator=rng(1)) for data in (other, images))
    assert torch.equal(found, expected)


def test_an_unknown_space_is_told(images, pool):
    with pytest.raises(NcfmError, match="Did you mean 'pixels'"):
        cluster_classes(images, pool, space="pixel", number=2, generator=rng(0))
