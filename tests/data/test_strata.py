"""Batches drawn evenly over clusters."""

from __future__ import annotations

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.data.image_set import ImageSplit
from ncfm.data.strata import Strata
from strategies import rng


def split_of(*counts):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    return ImageSplit.of(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels, len(counts))


# Class 0: clusters of 1, 3 and 6 images; class 1: clusters of 2 and 2.
SPLIT = split_of(10, 4)
CLUSTERS = torch.tensor([0, 1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0, 1, 1])


def test_every_cluster_gives_an_image_before_any_gives_a_second():
    strata, generator = Strata(SPLIT, CLUSTERS), rng(0)
    for _ in range(50):
        first, second = strata.draw(3, generator)
        assert sorted(CLUSTERS[first].tolist()) == [0, 1, 2]
        assert sorted(CLUSTERS[second].tolist()) in ([0, 0, 1], [0, 1, 1])
        assert int(first.max()) < 10 <= int(second.min())


def test_nothing_is_drawn_twice_and_clusters_that_are_used_up_are_passed_over():
    strata, generator = Strata(SPLIT, CLUSTERS), rng(0)
    for _ in range(20):
        (first, _) = strata.draw(8, generator)
        assert len(set(first.tolist())) == 8
        assert CLUSTERS[first].bincount().tolist() == [1, 3, 4]


def test_a_small_class_repeats_its_images_in_the_drawn_order():
    _, second = Strata(SPLIT, CLUSTERS).draw(9, rng(0))
    assert sorted(second[:4].tolist()) == [10, 11, 12, 13]
    assert second[4:8].tolist() == second[:4].tolist()
    assert second[8] == second[0]


def test_images_of_a_cluster_are_drawn_alike_and_clusters_come_in_any_order():
    strata, generator, n = Strata(SPLIT, CLUSTERS), rng(1), 3000
    drawn = torch.stack([strata.draw(1, generator)[0] for _ in range(n)]).flatten()
    counts = drawn.bincount(minlength=10).double()
    expected = n / 3 / torch.tensor([1.0, 3, 3, 3, 6, 6, 6, 6, 6, 6])
    assert float(((counts - expected) ** 2 / expected).sum()) < 27.9  # 9 degrees of freedom, p = 0.001


def test_one_cluster_is_a_uniform_draw():
    strata, generator = Strata(SPLIT, torch.zeros(14, dtype=torch.int64)), rng(2)
    counts = torch.cat([strata.draw(5, generator)[0] for _ in range(400)]).bincount(minlength=10).double()
    assert float(((counts - 200) ** 2 / 200).sum()) < 27.9


def test_draws_repeat_with_their_generator():
    strata = Strata(SPLIT, CLUSTERS)
    assert torch.equal(strata.draw(6, rng(3)), strata.draw(6, rng(3)))
    assert not torch.equal(strata.draw(6, rng(3)), strata.draw(6, rng(4)))


@pytest.mark.parametrize("clusters", [CLUSTERS[:-1], CLUSTERS.float()])
def test_every_image_needs_a_cluster(clusters):
    with pytest.raises(NcfmError, match="a cluster of each of 14 images"):
        Strata(SPLIT, clusters)
