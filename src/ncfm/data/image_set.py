"""Image sets: uint8 tensors sorted by class, in memory or memory-mapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ncfm._utils.accelerator import to_device
from ncfm._utils.checks import InputError, check_at_least, check_labels
from ncfm._utils.device import available_memory
from ncfm._utils.files import content_hash, release_pages
from ncfm._utils.progress import counted
from ncfm._utils.tensors import check_dense
from ncfm._utils.types import LabelledImages, Labels, Statistics, StoredImages
from ncfm.data.levels import to_float
from ncfm.data.normalization import channel_statistics, mean_deviation
from ncfm.data.store import take
from ncfm.data.whitening import zca


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
