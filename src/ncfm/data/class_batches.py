"""Random batches of every class, drawn uniformly from its images."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ncfm._utils.checks import InputError, check_at_least
from ncfm.data.image_set import ImageSplit


def draw_class_batches(split: ImageSplit, batch_per_class: int, generator: Generator) -> Tensor:
    """Positions of a fresh random batch of every class, (C, n) on the CPU, without a loop over classes.

    Uniform without replacement within a class: every image gets a random key, and a class takes its n smallest. A
    class with fewer than n images repeats them in the drawn order until n are reached.

    Raises:
        NcfmError: if a class has no images.
    """
    check_at_least(batch_per_class, 1, "real_batch_per_class")
    counts, offsets = split.counts, split.offsets
    if int(counts.min()) == 0:
        empty = (counts == 0).nonzero().flatten().tolist()
        raise InputError(f"Classes without training images: {empty[:10]}; drop them before drawing batches.")
    largest = int(counts.max())
    keys = torch.rand(len(counts), largest, generator=generator)
    keys.masked_fill_(torch.arange(largest) >= counts[:, None], 2.0)  # positions beyond the class sort last
    if batch_per_class <= int(counts.min()):
        order = keys.topk(batch_per_class, dim=1, largest=False).indices
    else:
        take = torch.arange(batch_per_class) % counts[:, None]  # (C, n)
        order = keys.argsort(dim=1).gather(1, take)
    return order + offsets[:, None]
