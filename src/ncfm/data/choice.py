"""What the user chooses where a source leaves a choice: columns of tables, and splits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

from ncfm._utils.checks import InputError
from ncfm.data.split_names import SPLIT_WORDS, shortened, split_of

SHARD = re.compile(r"-\d{5}-of-\d{5}$")  # the end of a name that the hub gives to one of several files


class Choice(NamedTuple):
    """Columns and splits by name; None: the usual names. Its ``repr`` is part of the cache keys."""

    image_column: str | None = None
    label_column: str | None = None
    train_split: str | None = None
    test_split: str | None = None

    @property
    def columns(self) -> tuple[str | None, str | None]:
        """Of images and of labels."""
        return self.image_column, self.label_column

    @property
    def given(self) -> str:
        """The settings that are made, for messages."""
        return ", ".join(f"data.{field}={value}" for field, value in self._asdict().items() if value is not None)

    @property
    def splits(self) -> dict[str, str]:
        """The chosen splits: names by "train" and "test"."""
        pairs = (("train", self.train_split), ("test", self.test_split))
        return {split: name for split, name in pairs if name is not None}


class Assigned(NamedTuple):
    """Names of files, folders or tables by the split that they belong to."""

    splits: dict[str, list[str]]
    unread: list[str]

    def single(self, place: str) -> dict[str, str]:
        """The only name of each split.

        Raises:
            InputError: for a split of several names, which are not parts of one.
        """
        for split, names in sorted(self.splits.items(), key=lambda item: item[0] != "train"):
            if len(names) > 1:
                option = "train" if split == "train" else "test"
                raise InputError(
                    f"{place}: {_listed(names)} are all of the {split} split; choose one (--{option}-split {names[0]})."
                )
        return {split: names[0] for split, names in self.splits.items()}


def assign_splits(names: Sequence[str], choice: Choice, place: str) -> Assigned:
    """Assign names to splits: those that are chosen, then by the words of the names (see `split_of`).

    Names that say no split are the training split, or unread if there is one. What says a split whose place is taken by
    a choice is unread, too.

    Raises:
        InputError: for a choice that fits no name, or a name that may be of several splits.
    """
    splits = {split: _chosen(names, wanted, split, place) for split, wanted in choice.splits.items()}
    taken = [name for found in splits.values() for name in found]
    if len(set(taken)) < len(taken):
        raise InputError(
            f"{place}: expected different splits for training and testing, got {_listed(set(taken))} twice."
        )
    unnamed: list[str] = []
    unread: list[str] = []
    for name in names:
        if name in taken:
            continue
        split = clear_split_of(name) if choice.splits else split_of(name)
        if split is None:
            unnamed.append(name)
        elif split == "extra" or split in choice.splits or (split == "validation" and choice.test_split):
            unread.append(name)
        else:
            splits.setdefault(split, []).append(name)
    if "train" in splits:
        unread += unnamed
    elif unnamed:
        splits["train"] = unnamed
    return Assigned(splits, unread)


def _chosen(names: Sequence[str], wanted: str, split: str, place: str) -> list[str]:
    """The names that a choice stands for: exactly, without suffix and number of a file, or as a word."""
    exact = [name for name in names if wanted in _forms(name)]
    word = next((split for split, synonyms in SPLIT_WORDS.items() if wanted.lower() in synonyms), None)
    found = exact or [name for name in names if word and clear_split_of(name) == word]
    if not found:
        raise InputError(f"{place}: no split {wanted!r} for --{split}-split; found {_listed(names) or 'nothing'}.")
    return found


def _forms(name: str) -> tuple[str, ...]:
    """What a user may call a file or folder.

    >>> _forms("extra/train-00000-of-00002.parquet")
    ('extra/train-00000-of-00002.parquet', 'train-00000-of-00002.parquet', 'train-00000-of-00002', 'train', 'extra')
    """
    path = PurePosixPath(name)
    stem = path.name.split(".")[0]
    return (name, path.name, stem, SHARD.sub("", stem), *path.parts[:-1])


def clear_split_of(name: str) -> str | None:
    """The split that a name stands for (see `split_of`); None if it says none, or several."""
    try:
        return split_of(name)
    except InputError:
        return None


def _listed(names: Sequence[str] | set[str]) -> str:
    return shortened(sorted(names))
