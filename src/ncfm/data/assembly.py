"""From the encoded images of a source to an `ImageSet`: decoding, class names, and checks that splits agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.cache import cached_set, source_key
from ncfm.data.choice import Choice
from ncfm.data.decoding import SHOWN, decode_all
from ncfm.data.image_set import ImageSet, ImageSplit, drop_empty_classes
from ncfm.data.raw import RawSplit, Splits
from ncfm.data.split_names import in_short, shortened
from ncfm.data.store import NewRows, beyond_memory

TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "validation", "valid", "val")
MOST_CLASSES = 2**20  # without class names there are as many classes as the largest label says


class Wanted(NamedTuple):
    """The form in which images are wanted. Its ``repr`` is part of the cache keys."""

    image_size: int | None  # side in pixels; None: the images' own
    channels: int | None  # None: by the images
    max_unreadable: float  # share of a split
    fit: str = "crop"  # how images become square


class Request(NamedTuple):
    """A request for the images of a name or path."""

    name: str
    data_root: Path | None  # where datasets are looked for before downloading
    wanted: Wanted
    choice: Choice = Choice()


def load_files(
    name: str,
    files: Sequence[Path],
    options: tuple[Any, ...],
    read: Callable[[], Splits],
    wanted: Wanted,
    root: Path | None = None,
) -> ImageSet:
    """The set called ``name`` from the cache, or decoded from files.

    Args:
        name: of the set.
        files: that the pixels depend on.
        options: what else they depend on, apart from ``wanted``.
        read: gives the splits.
        wanted: size, channels and fit.
        root: the folder whose structure gives the labels; None if the files hold them.
    """
    key = source_key(files, options, wanted, root=root)
    return cached_set(key, name, lambda rows: assemble(name, read(), wanted, rows))


def assemble(name: str, splits: Splits, wanted: Wanted, rows: Callable[[str], NewRows] = beyond_memory) -> ImageSet:
    """Decode the splits of a source and sort them by class.

    Args:
        name: of the set.
        splits: by name, see `TRAIN_NAMES` and `TEST_NAMES`; others are left unread, and listed as problems.
        wanted: size, channels and fit; the test split follows the training split in its channels.
        rows: storage for the decoded images of a split.

    Raises:
        NcfmError: without a training split, for images that cannot be read, or splits that do not fit each other.
    """
    problems: list[str] = []
    train, test = _first(splits, TRAIN_NAMES), _test_split(splits, problems)
    if train is None:
        raise InputError(
            f"{name}: expected a train split, found {', '.join(sorted(splits)) or 'nothing'}; "
            "name the folder or the parquet files train."
        )
    for split, raw in (("train", train), ("test", test)):
        problems += [f"{split}: {remark}" for remark in (raw.remarks if raw else ())]
    others = [split for split in splits if split not in (*TRAIN_NAMES, *TEST_NAMES)]
    problems += [f"{shortened(others)}: left unread"] if others else []
    class_names = _common_names(name, train, test)

    white: int | None = None  # of the training images, and so of the test images

    def decode(raw: RawSplit, split: str, channels: int | None) -> ImageSplit:
        nonlocal white
        labels = torch.tensor(list(raw.labels), dtype=torch.int64)
        decoded = decode_all(
            raw.images,
            image_size=wanted.image_size,
            channels=channels,
            fit=wanted.fit,
            place=f"{name} ({split})",
            max_unreadable=wanted.max_unreadable,
            order=labels.argsort(stable=True),
            rows=rows(split),
            white=white,
        )
        white = decoded.white
        problems.extend(f"{split}: {line}" for line in _left_out(decoded.unreadable))
        problems.extend(f"{split}: {remark}" for remark in decoded.remarks)
        return ImageSplit.of(decoded.images, labels[decoded.kept], len(class_names))

    train_split = decode(train, "train", wanted.channels)
    depth, size = train_split.images.shape[1:3]
    test_split = None if test is None else decode(test, "test", depth)
    # Not resized silently: the test images would not be those that the user means to evaluate on.
    if test_split is not None and test_split.images.shape[-1] != size:
        raise InputError(
            f"{name}: train images have {size} px and test images {test_split.images.shape[-1]} px; "
            f"choose one size with image_size (--set data.image_size={size})."
        )
    if test_split is not None:
        problems += _untrained(name, train_split, test_split)
    train_split, test_split, kept = drop_empty_classes(train_split, test_split, class_names)
    problems += _without_images(class_names, kept)
    return ImageSet(name, train_split, test_split, kept, tuple(problems))


def _left_out(unreadable: Sequence[str]) -> list[str]:
    """Problems that name the first of the unreadable images and count the others."""
    shown = [f"left out {in_short(line)}" for line in unreadable[:SHOWN]]
    more = len(unreadable) - SHOWN
    return [*shown, f"left out {counted(more, 'more image')} that could not be read"] if more > 0 else shown


def _without_images(class_names: Sequence[str], kept: Sequence[str]) -> list[str]:
    """A problem that names the first of the classes without training images."""
    present = set(kept)
    empty = [repr(name) for name in class_names if name not in present]
    if len(empty) < 2:
        return [f"train: no images of class {name}, left out" for name in empty]
    return [f"train: no images of {len(empty):,} of {len(class_names):,} classes, left out: {shortened(empty)}"]


def _common_names(name: str, train: RawSplit, test: RawSplit | None) -> tuple[str, ...]:
    """The class names, which both splits must share; without names, numbers up to the largest label."""
    if test is not None and test.class_names != train.class_names:
        lone = sorted(set(train.class_names or ()) ^ set(test.class_names or ()))
        found = f"only one of them has {shortened(lone, 10)}" if lone else "in another order"
        raise InputError(f"{name}: train and test must name the same classes, but {found}.")
    if train.class_names is not None:
        return train.class_names
    largest = max([*train.labels, *(test.labels if test is not None else ())], default=-1)
    if largest >= MOST_CLASSES:
        raise InputError(f"{name}: expected labels below {MOST_CLASSES:,}, found {largest}; number the classes from 0.")
    return tuple(str(c) for c in range(largest + 1))


def _untrained(name: str, train: ImageSplit, test: ImageSplit) -> list[str]:
    """A remark on test images of classes without training images, which are left out."""
    lost = int(test.counts[train.counts == 0].sum())
    if lost == len(test):
        raise InputError(f"{name}: expected train and test images of the same classes, but they have none in common.")
    return [f"test: left out {counted(lost, 'image')} of classes without training images"] if lost else []


def _test_split(splits: Splits, problems: list[str]) -> RawSplit | None:
    """The first of the test splits that has images and labels; what is passed over is added to the problems."""
    chosen = None
    for split in TEST_NAMES:
        raw = splits.get(split)
        if raw is None:
            continue
        if not raw.images:
            problems += [f"{split}: left unread, since it has no images", *(f"{split}: {r}" for r in raw.remarks)]
        elif all(label < 0 for label in raw.labels):  # as the test split of the hub's imagenet-1k
            problems.append(f"{split}: left unread, since its images have no labels")
        elif chosen is not None:
            problems.append(f"{split}: left unread, since there is another split to test on")
        else:
            chosen = raw
    return chosen


def _first(splits: Splits, names: Iterable[str]) -> RawSplit | None:
    return next((splits[n] for n in names if n in splits), None)
