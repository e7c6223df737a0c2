"""Image sets: uint8 tensors sorted by class, in memory or memory-mapped, and random batches per class."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import torch
from torch import Generator, Tensor

from ncfm._utils.accelerator import to_device
from ncfm._utils.checks import InputError, check_at_least, check_labels
from ncfm._utils.device import available_memory
from ncfm._utils.files import ROWS_AT_ONCE, content_hash, release_pages
from ncfm._utils.progress import counted
from ncfm._utils.tensors import check_dense
from ncfm._utils.types import Images, LabelledImages, Labels, Statistics, StoredImages, Whitening
from ncfm.data.store import take
from ncfm.data.whitening import whiten, zca


@dataclass(frozen=True)
class ImageSplit:
    """One split, sorted by class: a class is a slice, and a batch of all classes is one draw of indices."""

    images: StoredImages  # (N, c, h, w) uint8, sorted by class
    labels: Labels  # (N,) ascending
    counts: Tensor  # (C,) int64, images per class; always on the CPU, where batches are drawn
    offsets: Tensor  # (C,) int64, position of the first image of each class; on the CPU

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, num_classes: int) -> ImageSplit:
        """Sort uint8 images by class, keeping the source's order within a class.

        Raises:
            NcfmError: if there are no images, the shapes disagree, a label is out of range or a tensor is not dense.
        """
        check_dense(images, "The images")
        check_dense(labels, "The labels")
        if images.ndim != 4 or images.dtype != torch.uint8 or len(images) != len(labels):
            raise InputError(
                "Expected uint8 images of shape (n, c, h, w) with n labels, "
                f"got {images.dtype} {tuple(images.shape)} with {counted(len(labels), 'label')}."
            )
        if len(images) == 0:
            raise InputError("Expected at least one image, got none; check the path and the split.")
        check_labels(labels, num_classes)
        counts = torch.bincount(labels, minlength=num_classes)
        if bool((labels[1:] < labels[:-1]).any()):
            order = torch.argsort(labels, stable=True)
            images, labels = take(images, order), labels[order]
        return cls(images, labels, counts, counts.cumsum(0) - counts)

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> ImageSplit:
        """The same split on another device; the images stay where they are if they do not fit there."""
        return ImageSplit(to_if_it_fits(self.images, device), self.labels.to(device), self.counts, self.offsets)

    def of_classes(self, classes: slice) -> ImageSplit:
        """The images of consecutive classes, renumbered from 0, without a copy."""
        counts = self.counts[classes]
        first = int(self.offsets[classes][0])
        rows = slice(first, first + int(counts.sum()))
        return ImageSplit(
            self.images[rows], self.labels[rows] - (classes.start or 0), counts, self.offsets[classes] - first
        )

    def first(self, per_class: int) -> ImageSplit:
        """At most ``per_class`` images of every class, the first ones in the data's order."""
        check_at_least(per_class, 1, "per_class")
        rank = torch.arange(len(self)) - self.offsets.repeat_interleave(self.counts)
        at = (rank < per_class).nonzero().flatten()
        return ImageSplit.of(take(self.images, at), self.labels[at], len(self.counts))

    def batch(self, at: Tensor) -> StoredImages:
        """Images at positions (n,), on the device of the labels."""
        images = self.images[to_device(at, self.images.device)]
        release_pages()
        return to_device(images, self.labels.device)

    def of_class(self, index: int) -> StoredImages:
        """All images of one class."""
        start = int(self.offsets[index])
        return self.images[start : start + int(self.counts[index])]

    def labelled(self) -> LabelledImages:
        """All images as floats in [0, 1] with their labels."""
        return LabelledImages(to_float(self.images), self.labels)


@dataclass(frozen=True)
class ImageSet:
    """An image-classification set: two splits, class names, and statistics of the training split."""

    name: str
    train: ImageSplit
    test: ImageSplit | None
    class_names: tuple[str, ...]
    problems: tuple[str, ...] = ()  # found while loading, one line each: skipped files, classes without images
    whitened: bool = False  # whether networks get ZCA-whitened images
    deviation: str = "pixels"  # standard deviation of `statistics`: of all pixels, or the mean of that of each image
    layout: str = ""  # how the files were read, for people

    def __post_init__(self) -> None:
        present = int((self.train.counts > 0).sum())
        if present < 2:
            raise InputError(
                f"{self.name}: expected images of at least 2 classes, got {present}; "
                "a classifier cannot be trained on a single class."
            )

    @property
    def num_classes(self) -> int:
        """Number of classes C."""
        return len(self.class_names)

    @property
    def channels(self) -> int:
        """Image channels c."""
        return self.train.images.shape[1]

    @property
    def image_size(self) -> int:
        """Side of the square images in pixels."""
        return self.train.images.shape[-1]

    @cached_property
    def statistics(self) -> Statistics:
        """Mean and standard deviation per channel of the training split, in [0, 1]; the ZCA map if whitened."""
        statistics = channel_statistics(self.train.images)
        if self.deviation == "images":
            statistics = statistics._replace(std=mean_deviation(self.train.images))
        return statistics._replace(whitening=zca(self.train.images, statistics)) if self.whitened else statistics

    def with_statistics(self, statistics: Statistics) -> ImageSet:
        """The same images, shown to networks by other statistics."""
        found = replace(self)
        vars(found)["statistics"] = statistics  # a cached property
        return found

    def read_as(self, layout: str) -> ImageSet:
        """The same images, with the layout that they were read from. What was computed of them is kept."""
        found = replace(self, layout=layout)
        known = ("statistics", "fingerprint")  # cached properties
        vars(found).update({name: vars(self)[name] for name in known if name in vars(self)})
        return found

    @cached_property
    def fingerprint(self) -> str:
        """Content hash of the training split: pixels, labels and class names, and how networks are shown it."""
        shown = ["whitened"] if self.whitened else []
        shown += [] if self.deviation == "pixels" else [f"deviation of {self.deviation}"]
        return content_hash(self.train.images, self.train.labels, *self.class_names, *shown)

    def require_test(self) -> ImageSplit:
        """The test split.

        Raises:
            NcfmError: if there is none.
        """
        if self.test is None:
            raise InputError(
                f"{self.name} has no test split to evaluate on; add a folder or parquet file named test (or val)."
            )
        return self.test


def to_if_it_fits(images: StoredImages, device: torch.device) -> StoredImages:
    """The images on a device, if they take at most half of its free memory; else unchanged."""
    available = available_memory(device) if device.type == "cuda" else None
    fits = available is None or 2 * images.numel() * images.element_size() <= available
    return images.to(device) if fits else images


def to_float(images: StoredImages) -> Images:
    """Convert 8-bit pixels to floats in [0, 1]."""
    return images.to(torch.float32).div_(255)


def to_uint8(images: Images) -> StoredImages:
    """Convert floats in [0, 1] to the nearest of 256 levels; values outside are clamped."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)


def channel_statistics(images: StoredImages) -> Statistics:
    """Mean and (population) standard deviation per channel in units of [0, 1], in float64.

    Computed from the counts of the 256 levels, which are exact and need no copy of the images in a wider type. A
    constant channel gets the standard deviation 1, so that dividing by it is harmless.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    histogram = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for part in images.split(ROWS_AT_ONCE):
        histogram += torch.stack([torch.bincount(c.flatten(), minlength=256) for c in part.unbind(1)]).cpu()
        release_pages()
    means, stds = [], []
    for counts in histogram.double():
        shares = counts / counts.sum()
        mean = (shares * levels).sum()
        std = (shares * (levels - mean).square()).sum().sqrt()
        means.append(float(mean))
        stds.append(float(std) if std > 1e-6 else 1.0)
    return Statistics(tuple(means), tuple(stds))


def mean_deviation(images: StoredImages) -> tuple[float, ...]:
    """Mean over images (n, c, h, w) of the (sample) standard deviation of a channel's pixels, in [0, 1].

    The published code of this field divides CIFAR-10 by these values, 0.2023, 0.1994 and 0.2010, which are smaller than
    the standard deviation of all pixels by a fifth. A constant channel gets 1.

    Reference:
        VICO-UoE/DatasetCondensation, ``utils.py``, ``get_dataset``; Hansong-Zhang/DANCE and gszfwsb/NCFM, ``STDS``.
    """
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    for part in images.split(ROWS_AT_ONCE):
        total += to_float(part).double().std(dim=(2, 3), correction=1).sum(0).cpu()
        release_pages()
    return tuple(std if std > 1e-6 else 1.0 for std in (total / len(images)).tolist())


def normalize(images: Images, statistics: Statistics) -> Images:
    """Subtract the mean of each channel and divide by its standard deviation; any leading axes before (c, h, w).

    If the statistics have a ZCA map, it is applied afterwards.
    """
    return _normalize(images, *_statistics_on(statistics, images.device, images.dtype))


def normalizer(statistics: Statistics, device: torch.device) -> Callable[[Images], Images]:
    """`normalize` for float32 images on a device, with the statistics already there, as compilers need it."""
    on_device = _statistics_on(statistics, device, torch.float32)
    return lambda images: _normalize(images, *on_device)


def _normalize(images: Images, mean: Tensor, std: Tensor, whitening: Whitening | None) -> Images:
    normalised = (images - mean) / std
    return normalised if whitening is None else whiten(normalised, whitening)


@lru_cache(maxsize=64)
def _statistics_on(
    statistics: Statistics, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Whitening | None]:
    """Mean and standard deviation (c, 1, 1) and the ZCA map on a device; cached, since a transfer waits for it."""
    mean, std = (torch.tensor(values, device=device, dtype=dtype).view(-1, 1, 1) for values in statistics[:2])
    whitening = statistics.whitening
    return mean, std, whitening if whitening is None else whitening.to(device, dtype)


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


def drop_empty_classes(
    train: ImageSplit, test: ImageSplit | None, class_names: Sequence[str]
) -> tuple[ImageSplit, ImageSplit | None, tuple[str, ...]]:
    """Drop classes without training images, and renumber the others in order."""
    kept = (train.counts > 0).nonzero().flatten()
    if len(kept) == len(class_names):
        return train, test, tuple(class_names)
    renumber = torch.full((len(class_names),), -1)
    renumber[kept] = torch.arange(len(kept))

    def restrict(split: ImageSplit) -> ImageSplit:
        labels = renumber[split.labels]
        at = (labels >= 0).nonzero().flatten()
        images = split.images if len(at) == len(labels) else take(split.images, at)
        return ImageSplit.of(images, labels[at], len(kept))

    names = tuple(class_names[i] for i in kept.tolist())
    return restrict(train), None if test is None else restrict(test), names
