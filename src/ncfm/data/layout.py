"""What a layout of files is: how a place is read, and what is found there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ncfm.data.choice import Choice, assign_splits
from ncfm.data.image_files import is_image_name
from ncfm.data.raw import Splits
from ncfm.data.split_names import left_unread

MOST_FOLDERS = 50  # that are looked into for files of a layout


class Reading(NamedTuple):
    """How the files of a place are read."""

    columns: tuple[str | None, str | None] = (None, None)  # of images and of labels, in tables; None: the usual names
    class_names: tuple[str, ...] | None = None  # where the files only number the classes
    part: str | None = None  # name of the part of the classes that `select` takes; None: all
    select: Callable[[Splits], Splits] = lambda splits: splits
    choice: Choice = Choice()  # the user's own; its columns are also those of ``columns``
    remarks: tuple[str, ...] = ()  # on how the place was found

    def with_choice(self, choice: Choice) -> Reading:
        """The same, with the user's choice over the columns."""
        image, label = self.columns
        return self._replace(columns=(choice.image_column or image, choice.label_column or label), choice=choice)


class Found(NamedTuple):
    """The images of a place, not yet decoded."""

    layout: str  # for people
    files: Sequence[Path]  # that the pixels depend on
    read: Callable[[], Splits]
    options: tuple[Any, ...] = ()  # what else they depend on, apart from the layout and the reading
    has_columns: bool = False  # whether there are columns to choose from
    root: Path | None = None  # the folder whose structure gives the labels; None if the files hold them

    def at(self, where: str, remarks: Sequence[str] = ()) -> Found:
        """The same, found in a folder of the place that was asked for."""
        read = self.read
        return self._replace(layout=f"{self.layout} in {where}", read=lambda: with_remarks(read(), remarks))


Layout = Callable[[Path, Reading], Found | None]
"""Finds a layout in a file or folder; None if it is another one. Detection opens as few files as it can."""


def few_folders(place: Path) -> list[Path]:
    """The visible folders of a folder; none if they are many, which are classes then."""
    if not place.is_dir():
        return []
    folders = sorted(p for p in place.iterdir() if p.is_dir() and not p.name.startswith((".", "__")))
    return folders if len(folders) <= MOST_FOLDERS else []


def has_folders(place: Path) -> bool:
    """Whether a folder exists and has visible folders in it."""
    return place.is_dir() and any(p.is_dir() and not p.name.startswith(".") for p in place.iterdir())


def is_image(path: Path) -> bool:
    """Whether a file has the suffix of an image and is not hidden."""
    return is_image_name(path.name) and not path.name.startswith(".")


def has_images(folder: Path) -> bool:
    """Whether there is an image directly in a folder."""
    return any(is_image(path) for path in folder.iterdir())


def images_below(splits: Splits) -> list[Path]:
    """The image files of splits."""
    return [image for raw in splits.values() for image in raw.images if isinstance(image, Path)]


def choose_splits(splits: Splits, choice: Choice, place: Path) -> Splits:
    """The splits that are chosen, with a remark on the others; all of them without a choice.

    Raises:
        InputError: for a choice that fits none.
    """
    if not choice.splits:
        return splits
    assigned = assign_splits(list(splits), choice, str(place))
    chosen = {split: splits[name] for split, name in assigned.single(str(place)).items()}
    return with_remarks(chosen, left_unread("next to the training split", assigned.unread))


def with_remarks(splits: Splits, remarks: Sequence[str]) -> Splits:
    """The splits, with remarks added to the training split."""
    if "train" not in splits or not remarks:
        return splits
    train = splits["train"]
    return splits | {"train": replace(train, remarks=(*train.remarks, *remarks))}
