"""What is in memory, or comes out of Python objects, as images and labels: pairs, datasets, iterables, loaders."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from ncfm._utils.checks import InputError, describe
from ncfm._utils.tensors import dense
from ncfm.data.hub import encoded_column
from ncfm.data.items import ItemReader, MappedItems, is_table
from ncfm.data.labels import PlainLabels, plain_labels
from ncfm.data.pixels import PixelReader
from ncfm.data.raw import Encoded, LazyImages
from ncfm.data.spool import Spool

Remarks = Callable[[], tuple[str, ...]]


class Source(NamedTuple):
    """One split as it is found."""

    images: Sequence[Encoded]
    labels: PlainLabels
    class_names: tuple[str, ...] | None  # of the source itself
    remarks: Sequence[Remarks] = ()  # what was done

    def notes(self) -> list[str]:
        """What was assumed or left unread, once all images are read."""
        return [note for remarks in self.remarks for note in remarks()]


def read_source(source: Any, split: str, channels: int | None, resources: ExitStack) -> Source:
    """Images and labels of any form that `ncfm.data.images_of` accepts for a split.

    Args:
        source: the split.
        split: its name for messages.
        channels: that are asked for, see `PixelReader`.
        resources: closes what the images are read from.

    Raises:
        InputError: for any other form.
    """
    if isinstance(source, Mapping) and is_table(source):
        return _read_columns(source, PixelReader(split, channels), split)
    if _is_pair(source):
        return _read_pair(source[0], source[1], PixelReader(split, channels), split)
    if isinstance(source, DataLoader):
        return _read_loader(source, split, channels, resources)
    if _has_encoded_images(source, split):
        return _read_table(source, split)
    if _is_iterable_only(source):
        reader = ItemReader(split)
        items = (reader(item, i) for i, item in enumerate(source))
        return _read_once(items, reader, PixelReader(split, channels), source, resources)
    if isinstance(source, (np.ndarray, torch.Tensor)):
        raise InputError(f"{split}: expected a pair, images_of((images, labels)), got {describe(source)} alone.")
    if not _is_dataset(source):
        raise InputError(
            f"{split}: expected a pair (images, labels), or a dataset of (image, label) with a length, got "
            f"{describe(source)}."
        )
    return _read_items(source, PixelReader(split, channels), split)


def _is_pair(source: Any) -> bool:
    """Whether a source is images and labels; a list of two is, if its first entry holds more than one image."""
    if isinstance(source, list) and len(source) == 2:
        return getattr(source[0], "ndim", 0) > 2
    return isinstance(source, tuple) and len(source) == 2


def _read_columns(table: Mapping[Any, Any], pixels: PixelReader, split: str) -> Source:
    """A mapping of columns."""
    reader = ItemReader(split)
    image, label = reader.columns(list(table))
    found = _read_pair(table[image], table[label], pixels, split)
    return found._replace(remarks=(reader.remarks, *found.remarks))


def _read_pair(images: Any, labels: Any, pixels: PixelReader, split: str) -> Source:
    """Images and their labels."""
    if isinstance(images, torch.Tensor):
        images = dense(images, f"{split}: the images")
    if isinstance(labels, torch.Tensor):
        labels = dense(labels, f"{split}: the labels")
    try:
        counts = len(labels), len(images)
    except TypeError as error:
        raise InputError(
            f"{split}: expected images and labels that have a length, got {describe(images)} and {describe(labels)}."
        ) from error
    if counts[0] != counts[1]:
        raise InputError(f"{split}: expected as many labels as images, got {counts[0]} and {counts[1]}.")
    if hasattr(images, "to_numpy"):  # a column of a data frame, whose rows may have other numbers
        images = images.to_numpy()
    plain = plain_labels(labels, split)
    return Source(_lazily(images, pixels), plain, None, (plain.remarks, pixels.remarks))


def _read_items(source: Any, pixels: PixelReader, split: str) -> Source:
    """A map-style dataset. Its items are made twice, once for the label and once for the image: all of them might
    exceed the memory.
    """
    reader = ItemReader(split)
    items = MappedItems(source, reader, split)
    labels = plain_labels([items.item(i)[1] for i in range(len(items))], split)
    names = _names_of(source, reader.label_column)
    return Source(_lazily(items, pixels), labels, names, (reader.remarks, labels.remarks, pixels.remarks))


def _read_table(table: Any, split: str) -> Source:
    """A dataset of the datasets library: its encoded images are decoded like files."""
    reader = ItemReader(split)
    image, label = reader.columns(table.column_names)
    labels = plain_labels(table.with_format(None)[label], split)
    names = _names_of(table, label)
    return Source(encoded_column(table, image, split), labels, names, (reader.remarks, labels.remarks))


def _read_once(
    items: Iterable[tuple[Any, Any]], reader: ItemReader, pixels: PixelReader, source: Any, resources: ExitStack
) -> Source:
    """Items that cannot be read again, or not in the same order."""
    spool = resources.enter_context(Spool())
    found = []
    for i, (image, label) in enumerate(items):
        spool.append(pixels(image, i))
        found.append(label)
    labels, names = plain_labels(found, reader.split), _names_of(source, reader.label_column)
    images = LazyImages(len(spool), spool.read)
    return Source(images, labels, names, (reader.remarks, labels.remarks, pixels.remarks))


def _read_loader(loader: DataLoader[Any], split: str, channels: int | None, resources: ExitStack) -> Source:
    """The dataset of a loader that only batches it, in any order; else what the loader gives."""
    if _only_batches(loader):
        found = read_source(loader.dataset, split, channels, resources)
        note = "the dataset of the loader is read in its own order, without batches"
        return found._replace(remarks=(lambda: (note,), *found.remarks))
    reader = ItemReader(split)
    items = _items_of_loader(loader, reader)
    found = _read_once(items, reader, PixelReader(split, channels), loader.dataset, resources)
    note = "the loader is read once, in its order" + (", which leaves out the last batch" if loader.drop_last else "")
    return found._replace(remarks=(lambda: (note,), *found.remarks))


def _only_batches(loader: DataLoader[Any]) -> bool:
    sampler: Any = loader.sampler
    shuffles = isinstance(sampler, RandomSampler) and not sampler.replacement
    return (
        not isinstance(loader.dataset, IterableDataset)
        and loader.collate_fn is default_collate
        and type(loader.batch_sampler) is BatchSampler
        and loader.batch_size is not None  # not a batch sampler of the user
        and (isinstance(sampler, SequentialSampler) or (shuffles and len(sampler) == len(sampler.data_source)))
    )


def _items_of_loader(loader: DataLoader[Any], reader: ItemReader) -> Iterator[tuple[Any, Any]]:
    count = 0
    for given in loader:
        found = [reader(given, count)] if loader.batch_sampler is None else reader.unbatched(given, count)
        for item in found:
            count += 1
            yield item


def _lazily(images: Any, pixels: PixelReader) -> LazyImages:
    return LazyImages(len(images), lambda start, stop: [pixels(images[i], i) for i in range(start, stop)])


def _has_encoded_images(source: Any, split: str) -> bool:
    """Whether a source is a dataset of the datasets library with a column of images, and without code of the user."""
    library = sys.modules.get("datasets")
    if library is None or not isinstance(source, library.Dataset) or source.format["type"] == "custom":
        return False
    image, _ = ItemReader(split).columns(source.column_names)
    return isinstance(source.features[image], library.Image)


def _is_iterable_only(source: Any) -> bool:
    if isinstance(source, (str, bytes, Mapping)):
        return False
    return isinstance(source, IterableDataset) or (hasattr(source, "__iter__") and not hasattr(source, "__getitem__"))


def _is_dataset(source: Any) -> bool:
    """Whether items may be read by number."""
    other = isinstance(source, (str, bytes, Mapping))
    return not other and hasattr(source, "__len__") and hasattr(source, "__getitem__")


def _names_of(source: Any, label_column: str | None) -> tuple[str, ...] | None:
    """Class names that a dataset has itself: its ``classes``, those of its column of labels, or of its parts."""
    names = getattr(source, "classes", None)
    if isinstance(names, (list, tuple)):
        return tuple(map(str, names))
    feature = (getattr(source, "features", None) or {}).get(label_column)
    if feature is not None:
        names = getattr(feature, "names", None)
        return tuple(map(str, names)) if names else None
    parts = [source.dataset] if hasattr(source, "dataset") else getattr(source, "datasets", ())
    found = {_names_of(part, label_column) for part in parts}
    if len(found) > 1:
        raise InputError("Expected the same classes in all parts of a dataset, got different ones; number them alike.")
    return found.pop() if found else None
