"""Batches drawn evenly over clusters of a class, in place of uniformly over its images.

Reference:
    Liu et al., "DREAM: Efficient Dataset Distillation by Representative Matching", ICCV 2023. The published code
    (lyq312318224/DREAM, ``new_strategy.py``, ``condense.py``) takes the image nearest to the centre of each cluster and
    clusters again every 10 steps, because its network changes. Here the clusters stay and their images are drawn.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ncfm._utils.checks import InputError, check_at_least
from ncfm.data.image_set import ImageSplit


class Strata:
    """A split whose classes are divided into clusters.

    Args:
        split: the images, sorted by class.
        clusters: (N,) int64, the cluster of each image within its class, from 0.

    Raises:
        NcfmError: unless every image has a cluster, or for a class without images.
    """

    def __init__(self, split: ImageSplit, clusters: Tensor) -> None:
        if clusters.shape != (len(split),) or clusters.dtype != torch.int64:
            raise InputError(f"Expected a cluster of each of {len(split)} images, got {tuple(clusters.shape)}.")
        check_at_least(int(split.counts.min()), 1, "images of the smallest class")
        self._counts, self._offsets = split.counts, split.offsets
        num_classes, widest = len(split.counts), int(split.counts.max())
        self.num_clusters = int(clusters.max()) + 1
        # (C, widest): the cluster of each image of a class; places beyond a class belong to a cluster after the last.
        self._clusters = torch.full((num_classes, widest), self.num_clusters)
        inside = torch.arange(widest) < split.counts[:, None]
        self._clusters[inside] = clusters.cpu()
        sizes = torch.zeros(num_classes, self.num_clusters + 1, dtype=torch.int64)
        sizes.scatter_add_(1, self._clusters, torch.ones_like(self._clusters))
        starts = sizes.cumsum(1) - sizes
        self._by_cluster = self._clusters.sort(dim=1).values  # of images sorted by cluster
        self._rank = torch.arange(widest) - starts.gather(1, self._by_cluster)  # of an image within its cluster

    def draw(self, batch_per_class: int, generator: Generator) -> Tensor:
        """Positions of a random batch of every class, (C, n) on the CPU.

        The clusters of a class give an image each in random order, then a second one, and so on, without replacement; a
        cluster without further images is passed over. A class with fewer than n images repeats them in that order.
        """
        check_at_least(batch_per_class, 1, "real_batch_per_class")
        order = (
            torch.rand(self._clusters.shape, generator=generator, dtype=torch.float64).add_(self._clusters).argsort(1)
        )
        turn = torch.rand(len(order), self.num_clusters + 1, generator=generator, dtype=torch.float64)
        keys = self._rank + turn.gather(1, self._by_cluster)  # the first of every cluster, then the second, ...
        keys.masked_fill_(self._by_cluster == self.num_clusters, torch.inf)
        taken = torch.arange(batch_per_class) % self._counts[:, None]  # (C, n)
        within = order.gather(1, keys.argsort(1).gather(1, taken))
        return within + self._offsets[:, None]
