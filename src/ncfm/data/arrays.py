"""Image sets from what is in memory: arrays, tensors, datasets of torch and of Hugging Face, loaders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

from ncfm._utils.checks import InputError
from ncfm.data.assembly import Wanted, assemble
from ncfm.data.image_set import ImageSet
from ncfm.data.items import is_table
from ncfm.data.labels import names_of, numbered
from ncfm.data.memory import Source, read_source
from ncfm.data.raw import RawSplit
from ncfm.data.split_names import shortened, split_of

SPLITS = ("train", "test", "validation")  # in the order in which they are read


def images_of(
    train: Any,
    test: Any = None,
    *,
    class_names: Sequence[str] | None = None,
    name: str = "arrays",
    image_size: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
) -> ImageSet:
    """An `ImageSet` from what is in memory.

    A split is one of:

    - a pair (images, labels) of arrays, tensors or lists, or a mapping of such columns;
    - a map-style or iterable ``torch.utils.data.Dataset``, a list or an iterator of items, each (image, label) or a
      mapping with these two; or a ``DataLoader`` of them;
    - a ``Dataset`` or ``IterableDataset`` of Hugging Face.

    An image is a Pillow image or the contents or path of an image file, decoded as `load_images` does; or (h, w),
    (h, w, c) or (c, h, w) of floats in [0, 1], integers from 0 to 255, or bools. Labels are whole numbers from 0,
    names, or one-hot rows. What was assumed or left unread is listed in the set's ``problems``.

    Iterables and loaders are read once. Everything else is read image by image, up to three times.

    Args:
        train: the training split; or a mapping of splits, also a ``DatasetDict``, with names as in `split_of`.
        test: the split to test on, or None; not together with a mapping of splits.
        class_names: default: the names that the training split has itself (its ``classes`` or its labels in sorted
            order), else the numbers.
        name: for messages and results.
        image_size, channels, fit: as in `load_images`. Where c is neither 1 nor 3, it is the axis of length
            ``channels``, or the one that is shorter than both others.

    Raises:
        InputError: for other forms, pixels out of range (with the remedy: nothing is scaled or clamped), labels that
            are none of the classes, and splits that do not fit each other.
    """
    found, problems = _splits(train, test, name)
    with ExitStack() as resources:
        sources = _read(found, channels, resources, problems)
        raws = _with_common_classes(sources, class_names)
        images = assemble(name, raws, Wanted(image_size, channels, 0.0, fit))
        remarks = [f"{split}: {note}" for split, source in sources.items() for note in source.notes()]
    return replace(images, problems=(*images.problems, *problems, *remarks))


def _splits(train: Any, test: Any, name: str) -> tuple[dict[str, Any], list[str]]:
    """The splits by their usual names, and which others are left unread."""
    if not isinstance(train, Mapping) or is_table(train):
        return {"train": train} if test is None else {"train": train, "test": test}, []
    if test is not None:
        raise InputError("Expected a mapping of splits, or a training and a test split, got both.")
    splits: dict[str, tuple[Any, Any]] = {}  # name in the mapping and source
    unnamed, extra = [], []
    for key, source in train.items():
        split = split_of(str(key))
        if source is None:
            continue
        if split is None:
            unnamed.append(str(key))
        elif split == "extra":
            extra.append(str(key))
        elif split in splits:
            raise InputError(f"{name}: {splits[split][0]} and {key} are both named {split}; keep one (images, labels).")
        else:
            splits[split] = key, source
    if "train" not in splits:
        raise InputError(
            f"{name}: expected a train split, found {shortened([*map(str, train)]) or 'nothing'}; give a mapping such "
            'as {"train": (images, labels)}.'
        )
    unread = []
    if unnamed:
        why = "its name says" if len(unnamed) == 1 else "their names say"
        unread.append(f"{shortened(unnamed)}: left unread, since {why} no split (train, test, validation)")
    unread += [f"{shortened(extra)}: left unread"] if extra else []
    return {split: source for split, (_, source) in splits.items()}, unread


def _read(
    found: Mapping[str, Any], channels: int | None, resources: ExitStack, problems: list[str]
) -> dict[str, Source]:
    """The splits that are used: that for validation only where there is no other one to test on.

    An iterable gives its items once, and reading may take long: what is not used is not read.
    """
    sources: dict[str, Source] = {}
    for split in sorted(found, key=SPLITS.index):
        other = sources.get("test") if split == "validation" else None
        if other is not None and len(other.images) > 0 and not other.labels.are_missing:
            problems.insert(0, f"{split}: left unread, since there is another split to test on")
        else:
            sources[split] = read_source(found[split], split, channels, resources)
    return sources


def _with_common_classes(sources: Mapping[str, Source], given: Sequence[str] | None) -> dict[str, RawSplit]:
    """The splits with class numbers that mean the same in all of them."""
    _, labels, own, _ = sources["train"]
    known = tuple(map(str, given)) if own is None and given is not None else own
    for split, source in sources.items():
        if source.class_names not in (None, known):
            raise InputError(
                f"{split}: expected the classes of the training split in their order "
                f"({shortened(known or ['without names'])}), got {shortened(source.class_names or ())}; number both "
                "alike and name them (class_names), or give names as labels."
            )
    if labels.are_missing:
        raise InputError("train: expected a label of every image, got none or -1 throughout.")
    names = names_of(labels, own, given)
    return {
        split: RawSplit(source.images, numbered(source.labels, names, split), names)
        for split, source in sources.items()
    }
