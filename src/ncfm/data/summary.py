"""A summary of a dataset before distillation: counts, statistics, duplicates, and other problems."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ncfm._utils.progress import counted
from ncfm._utils.types import Statistics
from ncfm.data.digests import image_digests
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float

SHOWN = 5  # examples per problem
LARGEST_USUAL = 128  # px per side; above, a smaller size is recommended
RECOMMENDED = 64  # px per side, without a GPU


@dataclass(frozen=True)
class DataCard:
    """Summary of a dataset."""

    name: str
    num_classes: int
    class_names: tuple[str, ...]
    train_counts: tuple[int, ...]  # per class
    test_counts: tuple[int, ...] | None
    image_size: int
    channels: int
    statistics: Statistics  # of the training split, in units of [0, 1]
    duplicates: int  # training images with the same pixels as an earlier one
    conflicting: int  # duplicates with another label
    leaked: int  # test images with the same pixels as a training image
    problems: tuple[str, ...]
    layout: str = ""  # how the files were read; empty if there are none


def describe(images: ImageSet) -> DataCard:
    """Summarise a dataset. Images are compared by the SHA-256 of their decoded pixels."""
    labels = images.train.labels.tolist()
    first: dict[bytes, int] = {}
    duplicates = conflicting = 0
    for digest, label in zip(image_digests(images.train.images), labels, strict=True):
        if digest in first:
            duplicates += 1
            conflicting += label != first[digest]
        else:
            first[digest] = label
    leaked = 0 if images.test is None else sum(digest in first for digest in image_digests(images.test.images))
    return DataCard(
        name=images.name,
        num_classes=images.num_classes,
        class_names=images.class_names,
        train_counts=tuple(images.train.counts.tolist()),
        test_counts=None if images.test is None else tuple(images.test.counts.tolist()),
        image_size=images.image_size,
        channels=images.channels,
        statistics=images.statistics,
        duplicates=duplicates,
        conflicting=conflicting,
        leaked=leaked,
        problems=(*images.problems, *_found(images, duplicates, conflicting, leaked)),
        layout=images.layout,
    )


def _found(images: ImageSet, duplicates: int, conflicting: int, leaked: int) -> list[str]:
    """Problems found in the pixels and the counts."""
    problems = []
    if duplicates:
        also = f", {conflicting} of them with another label" if conflicting else ""
        problems.append(f"train: {counted(duplicates, 'duplicate image')}{also}")
    if leaked:
        problems.append(f"test: {counted(leaked, 'image')} also in the training split")
    if images.image_size > LARGEST_USUAL:
        problems.append(size_advice(images))
    counts = images.train.counts
    if int(counts.max()) >= 10 * int(counts.min()):
        rare = [images.class_names[i] for i in counts.argsort()[:SHOWN].tolist()]
        problems.append(
            f"train: unequal classes, {int(counts.min())} to {int(counts.max())} images; fewest: {', '.join(rare)}"
        )
    if images.test is not None and int(images.test.counts.min()) == 0:
        empty = int((images.test.counts == 0).sum())
        problems.append(f"test: {counted(empty, 'class')} without images")
    return problems


def size_advice(images: ImageSet) -> str:
    """What to do with images so large that distilling them is expensive."""
    times = (images.image_size / RECOMMENDED) ** 2
    return (
        f"images of {images.image_size} px; an iteration takes about {times:.0f} times the time and memory of "
        f"{RECOMMENDED} px. Recommended: --set data.image_size={RECOMMENDED}, or {LARGEST_USUAL} on a GPU"
    )


def sample_grid(images: ImageSet, per_class: int = 10) -> Tensor:
    """The first training images of every class as floats (C, per_class, c, h, w); small classes are repeated."""
    at = [
        int(offset) + index % int(count)
        for offset, count in zip(images.train.offsets, images.train.counts, strict=True)
        for index in range(per_class)
    ]
    return to_float(images.train.images[at]).unflatten(0, (images.num_classes, per_class))


def count_summary(counts: tuple[int, ...]) -> str:
    """``5000 each``, or ``12 to 340 each``."""
    low, high = min(counts), max(counts)
    return f"{low} each" if low == high else f"{low} to {high} each"
