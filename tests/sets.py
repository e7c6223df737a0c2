"""Sets for tests: synthetic ones of random images, with soft labels of random logits, and real ones."""

import torch

from ncfm._utils.seeding import generator
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.synthetic.initialization import start_images
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from strategies import rng

NAMES = ("cat", "dog", "Käfer")
STATISTICS = Statistics((0.1, 0.2, 1 / 3), (0.3, 0.4, 0.5))


def synthetic(seed=0, ipc=2, **options):
    images = torch.rand(3, ipc, 3, 8, 8, generator=rng(seed))
    return SyntheticSet(images, NAMES, STATISTICS, **options)


def with_soft_labels(digits, **options):
    images = start_images(digits, ipc=2, factor=2, init="mosaic", generator=rng(0))
    log_probabilities = torch.log_softmax(torch.randn(80, 10, generator=rng(1)), 1)
    soft_labels = SoftLabels.of(log_probabilities, **options)
    return SyntheticSet(images, digits.class_names, digits.statistics, factor=2, soft_labels=soft_labels)


def real_images(names, channels=1, size=8):
    """Real data: two images of random pixels of each class."""
    pixels = torch.randint(0, 256, (2 * len(names), channels, size, size), dtype=torch.uint8, generator=rng(5))
    split = ImageSplit.of(pixels, torch.arange(len(names)).repeat_interleave(2), len(names))
    return ImageSet("real", split, None, tuple(names))


def numbered_split(counts, *, seed=0):
    """A split with these class sizes in random order, whose images hold their own source position."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator(seed, "order"))]
    images = torch.arange(len(labels), dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return ImageSplit.of(images, labels, len(counts)), labels
