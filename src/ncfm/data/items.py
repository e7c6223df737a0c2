"""Items of datasets: an image and its label, as a tuple or by the names of columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ncfm._utils.checks import InputError, describe
from ncfm.data.raw import IMAGE_COLUMNS, LABEL_COLUMNS, find_column
from ncfm.data.split_names import shortened


class ItemReader:
    """Takes image and label out of the items of one split, and collects what else they hold.

    Args:
        split: its name for messages.
    """

    def __init__(self, split: str) -> None:
        self.split = split
        self._columns: set[str] = set()  # next to those of image and label
        self._read: tuple[str, str] | None = None  # of image and label
        self._lengths: set[int] = set()  # of items with more entries than these two
        self.label_column: str | None = None  # of items with columns, once one was read

    def __call__(self, item: Any, index: int) -> tuple[Any, Any]:
        """Image and label of an item, or of a batch of items in the same form.

        Raises:
            InputError: if it is neither a tuple of them nor a mapping with columns of the usual names.
        """
        if isinstance(item, (tuple, list)) and len(item) >= 2:
            if len(item) > 2:
                self._lengths.add(len(item))
            return item[0], item[1]
        if isinstance(item, Mapping):
            image, self.label_column = self.columns(list(item))
            return item[image], item[self.label_column]
        raise InputError(
            f"{self.split}: expected items (image, label), but item {index} is {describe(item)}; "
            "give images and labels as a pair of arrays, or items of both."
        )

    def columns(self, present: Sequence[str]) -> tuple[str, str]:
        """The columns of images and of labels; others are noted.

        Raises:
            InputError: if one of them is missing.
        """
        image = find_column(present, None, IMAGE_COLUMNS, "image", self.split)
        label = find_column(present, None, LABEL_COLUMNS, "label", self.split)
        self._read = self._read or (image, label)
        self._columns.update(str(name) for name in present if name not in (image, label))
        return image, label

    def unbatched(self, batch: Any, first: int) -> Iterator[tuple[Any, Any]]:
        """The items of a batch.

        Raises:
            InputError: as `__call__`, or if it has not as many labels as images.
        """
        images, labels = self(batch, first)
        if len(images) != len(labels):
            raise InputError(
                f"{self.split}: expected as many labels as images in a batch, got {len(labels)} and {len(images)}."
            )
        return zip(images, labels, strict=True)

    def remarks(self) -> tuple[str, ...]:
        """What was left unread in the items so far."""
        found = []
        if self._lengths:
            low, high = min(self._lengths), max(self._lengths)
            found.append(
                f"items have {low if low == high else f'{low} to {high}'} entries: left unread after image and label"
            )
        if self._columns and self._read:
            image, label = self._read
            found.append(f"left unread next to the columns {image} and {label}: {shortened(sorted(self._columns))}")
        return tuple(found)


def is_table(source: Mapping[Any, Any]) -> bool:
    """Whether a mapping has columns of images and labels, rather than splits."""
    return any(name in source for name in IMAGE_COLUMNS) and any(name in source for name in LABEL_COLUMNS)


class MappedItems:
    """The items of a map-style dataset by number.

    Args:
        source: has a length and gives items by number.
        reader: takes them apart.
        split: its name for messages.
    """

    def __init__(self, source: Any, reader: ItemReader, split: str) -> None:
        self._source, self._reader, self._split = source, reader, split

    def __len__(self) -> int:
        return len(self._source)

    def item(self, index: int) -> tuple[Any, Any]:
        """Image and label."""
        try:
            item = self._source[index]
        except (KeyError, TypeError, NotImplementedError) as error:
            if index > 0:  # a mistake of the dataset itself
                raise
            raise InputError(
                f"{self._split}: expected items (image, label) by number, but {describe(self._source)} has no item 0: "
                f"{type(error).__name__}: {error}."
            ) from error
        return self._reader(item, index)

    def __getitem__(self, index: int) -> Any:
        return self.item(index)[0]
