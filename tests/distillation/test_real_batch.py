"""Real batches: which images are drawn, their features, and the BatchNorm statistics that they give."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.testing import assert_close

from by_hand import clones, drawn, drawn_augmentation
from ncfm._utils.seeding import Streams
from ncfm.data.class_batches import draw_class_batches
from ncfm.distillation import real_batch
from ncfm.distillation.objective import ALL
from ncfm.distillation.objectives import MeanMatching
from ncfm.distillation.real_batch import RealBatches
from ncfm.training.clusters import cluster_classes
from tiny import WIDTH, distill, few, make_step, random_pool

BATCH = "convnet1w8-batch"


def batch_norm_step(images, **options):
    return make_step(images, random_pool(images, network=BATCH), **options)


def test_batch_norm_statistics_are_those_of_the_iterations_real_images(images, monkeypatch):
    monkeypatch.setattr(real_batch, "STATISTICS_BATCH", 16)
    played = batch_norm_step(images, real_batch_per_class=6)
    layer, convolution = played.pool.blended.blocks[1], played.pool.blended.blocks[0]
    drawn(played)
    after = clones([layer.running_mean, layer.running_var])
    # The same again by hand: 60 images in batches of 16, the last of 12; mean of the batches' statistics.
    again = batch_norm_step(images, real_batch_per_class=6)
    again.pool.draw(again.streams["teachers"])
    draw = again.views.augment.draw(10, 8, again.streams["augment"])
    at = draw_class_batches(images.train, 6, again.streams["batches"])
    seen = again.views.of_real(images.train, at, draw).transpose(0, 1).flatten(0, 1)
    maps = [convolution(part).detach() for part in seen.split(16)]
    assert_close(after[0], torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0), atol=1e-5, rtol=1e-4)
    assert_close(after[1], torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0), atol=1e-5, rtol=1e-4)
    assert not layer.training


@pytest.mark.parametrize("chunk_size", [1, 7, 64])
def test_batch_norm_statistics_do_not_depend_on_the_passes(images, chunk_size):
    played, whole = (batch_norm_step(images, real_batch_per_class=8, chunk_size=size) for size in (chunk_size, 2048))
    real, expected = drawn(played)[0], drawn(whole)[0]
    for name, value in whole.pool.blended.named_buffers():
        assert torch.equal(dict(played.pool.blended.named_buffers())[name], value)
    assert_close(real, expected, atol=1e-5, rtol=1e-5)


def test_blended_batch_norm_statistics_stay_blended(images):
    played = batch_norm_step(images, batch_norm="blended")
    drawn(played)
    layer = played.pool.blended.blocks[1]
    assert torch.equal(layer.running_mean, torch.zeros(8))  # of random weights that have seen nothing
    assert torch.equal(layer.running_var, torch.ones(8))


def test_each_iteration_collects_its_own_statistics(images):
    played = batch_norm_step(images)
    layer = played.pool.blended.blocks[1]
    seen = []
    for _ in range(2):
        played()
        seen += clones([layer.running_mean])
    assert not torch.equal(*seen)


def test_one_real_image_a_class_is_enough_for_batch_norm(images):
    played = batch_norm_step(images, real_batch_per_class=1, chunk_size=1)
    record = played()
    assert torch.isfinite(record.discrepancy)


def test_networks_without_batch_norm_pay_nothing(images, pool, monkeypatch):
    monkeypatch.setattr(real_batch, "recompute_batch_norms", lambda *a: pytest.fail("nothing to recompute"))
    make_step(images, pool)()


def test_real_batches_are_fresh_and_from_the_whole_class(make, monkeypatch):
    batches = []

    def spy(*arguments):
        batches.append(draw_class_batches(*arguments))
        return batches[-1]

    monkeypatch.setattr(real_batch, "draw_class_batches", spy)
    played = make(real_batch_per_class=2)
    for _ in range(30):
        played()
    assert all(b.shape == (10, 2) for b in batches)
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(batches))
    # 30 draws of 2 out of 8 miss a given image with probability (3/4)^30 = 2e-4; this seed misses none.
    for label in range(10):
        seen = torch.cat([b[label] for b in batches]).unique()
        assert seen.tolist() == list(range(8 * label, 8 * label + 8))


def test_real_features_carry_no_gradient(make):
    played = make()
    real, _ = drawn(played)
    assert real.shape == (10, 4, WIDTH)
    assert not real.requires_grad
    assert_close(real.norm(dim=-1), torch.ones(10, 4))


@pytest.mark.parametrize("at_once", [1, 4, 10, 30])
def test_real_images_gathered_in_parts_have_the_same_features(make, at_once):
    """10 classes of 4: single images, one class, one row of all classes, three rows."""
    whole, parts = make(), make()
    seen = []
    features_at = parts.real.features_at
    parts.real.features_at = lambda at, draw: (seen.append(at.numel()), features_at(at, draw))[1]
    parts.extract.chunk_size = 1
    batch = parts.real.batch(drawn_augmentation(parts), parts.streams["batches"])
    batch._at_once = at_once
    assert_close(batch[ALL], drawn(whole)[0], atol=1e-5, rtol=1e-5)
    assert sum(seen) == 40
    assert max(seen) <= at_once


def test_features_of_some_classes_are_those_of_all(make):
    played = make()
    batch = played.real.batch(drawn_augmentation(played), played.streams["batches"])
    assert_close(batch[slice(3, 7)], batch[ALL][3:7], atol=1e-6, rtol=1e-5)


def test_clustered_batches_have_an_image_of_each_cluster(digits, own_cache, monkeypatch):
    data, seen = few(digits, 12), []
    features_at = RealBatches.features_at
    monkeypatch.setattr(
        RealBatches, "features_at", lambda self, at, draw: (seen.append(at), features_at(self, at, draw))[1]
    )
    pool = random_pool(data)
    options = {"real_batches": "clustered", "real_batch_per_class": 6, "num_clusters": 3, "cluster_space": "pixels"}
    distill(data, pool, MeanMatching(), ipc=1, iterations=3, chunk_size=1000, **options)
    clusters = cluster_classes(data, pool, space="pixels", number=3, generator=Streams(0)["clusters"])
    assert len(seen) == 3
    for at in seen:
        found = clusters[at].sort(dim=1).values
        for c in range(10):
            own = clusters[c * 12 : (c + 1) * 12].bincount().clamp(max=2)  # two of each, if it has two
            assert found[c].bincount(minlength=3).ge(own).all()
