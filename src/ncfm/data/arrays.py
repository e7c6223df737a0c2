"""Image sets from arrays, tensors and torch datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ncfm._utils.checks import InputError, describe
from ncfm.data.assembly import TEST_NAMES, TRAIN_NAMES, Wanted, assemble
from ncfm.data.channels import channels_last, squeezed
from ncfm.data.image_set import ImageSet, to_uint8
from ncfm.data.one_class import check_one_class
from ncfm.data.raw import LazyImages, RawSplit


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

    Args:
        train: a pair of uint8 images, (n, h, w), (n, h, w, c) or (n, c, h, w), with n labels (arrays or tensors); or a
            map-style ``torch.utils.data.Dataset`` whose items are (image, label) with a Pillow image, a uint8 array or
            tensor, or a float tensor (c, h, w) in [0, 1]; or a mapping of splits, ``{"train": ..., "test": ...}``, of
            one of these each.
        test: the same, or None; not together with a mapping.
        class_names: default: the ``classes`` of the training split, else the numbers.
        name: for messages and results.
        image_size, channels, fit: as in `load_images`. Where c is neither 1 nor 3, it is the axis of length
            ``channels``, or the one that is shorter than both others.

    Raises:
        NcfmError: for shapes and types that are none of these.
    """
    sources = {"train": train} if test is None else {"train": train, "test": test}
    if isinstance(train, Mapping):
        if test is not None:
            raise InputError("Expected a mapping of splits, or a training and a test split, got both.")
        sources = dict(train)
    first = next((sources[split] for split in TRAIN_NAMES if split in sources), None)
    names = class_names if class_names is not None else getattr(first, "classes", None)
    known = {*TRAIN_NAMES, *TEST_NAMES}
    splits = {
        str(split): _in_memory(source, names, split, channels) for split, source in sources.items() if split in known
    }
    return assemble(name, splits, Wanted(image_size, channels, 0.0, fit))


def _in_memory(source: Any, class_names: Sequence[str] | None, split: str, channels: int | None) -> RawSplit:
    images: Any
    if isinstance(source, tuple) and len(source) == 2:
        images, labels = source
        if len(images) != len(labels):
            raise InputError(f"{split}: expected as many labels as images, got {len(labels)} and {len(images)}.")
    else:
        if not hasattr(source, "__len__") or not hasattr(source, "__getitem__"):
            raise InputError(f"{split}: expected (images, labels) or a map-style dataset, got {describe(source)}.")
        # Items are made twice, once for the label and once for the image: all of them might exceed the memory.
        images, labels = _ItemImages(source, split), [_item(source, i, split)[1] for i in range(len(source))]
    check_one_class(labels, split)
    lazily = LazyImages(
        len(images), lambda start, stop: [_pixels(images[i], split, channels) for i in range(start, stop)]
    )
    whole = [_whole(label, split) for label in labels]
    return RawSplit(lazily, whole, tuple(map(str, class_names)) if class_names else None)


def _item(source: Any, index: int, split: str) -> tuple[Any, Any]:
    """An item of a dataset, which is an image and a label."""
    item = source[index]
    try:
        image, label = item[0], item[1]
    except (TypeError, IndexError, KeyError) as error:
        raise InputError(f"{split}: expected items (image, label), but item {index} is {describe(item)}.") from error
    return image, label


def _whole(label: Any, split: str) -> int:
    """A label as an integer."""
    try:
        number = int(label)
        if number == label:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{split}: expected labels that are whole numbers, got {label!r}.")


class _ItemImages:
    """The images of a dataset of (image, label) items."""

    def __init__(self, source: Any, split: str) -> None:
        self._source, self._split = source, split

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Any:
        return _item(self._source, index, self._split)[0]


def _pixels(image: Any, split: str, channels: int | None) -> np.ndarray:
    """One image as uint8, (h, w) or (h, w, c)."""
    if isinstance(image, torch.Tensor) and image.is_floating_point():
        image = to_uint8(image)
    array = np.asarray(image)
    if array.dtype != np.uint8 or array.ndim not in (2, 3):
        raise InputError(
            f"{split}: expected uint8 images (h, w), (h, w, c) or (c, h, w), or float tensors in [0, 1]; got "
            f"{array.dtype} {array.shape}."
        )
    return array if array.ndim == 2 else squeezed(channels_last(array, channels, split))
