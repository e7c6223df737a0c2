"""Which split a file or folder is, by the words of its name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from ncfm._utils.checks import InputError

SPLIT_WORDS = {
    "train": ("train", "training", "trainset", "trainingset"),
    "test": ("test", "testing", "testset", "testingset"),
    "validation": ("validation", "valid", "val", "valset", "validationset", "dev", "devset", "eval", "evaluation"),
    "extra": ("extra", "unsupervised", "unlabeled", "unlabelled"),  # never read: not a split to train or test on
}
"""Splits and the words that stand for them, anywhere in a name: ``mydata_train.parquet``, ``TestSet``, ``val2017``."""

LONGEST_NAME = 200  # characters: a path may have so many, and a name that has more was not made to be read

WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def split_of(name: str) -> str | None:
    """The split that a name stands for, by whole words; None if no word says one.

    Raises:
        InputError: if words of several splits occur.

    >>> split_of("test-00000-of-00001"), split_of("myData_trainSet"), split_of("values")
    ('test', 'train', None)
    """
    words = {word.lower() for word in WORD.findall(name)}
    found = [split for split, synonyms in SPLIT_WORDS.items() if words & set(synonyms)]
    if len(found) > 1:
        raise InputError(f"{name!r} may be {' or '.join(found)}; rename it so that it names one split.")
    return found[0] if found else None


def left_unread(what: str, names: Iterable[str]) -> tuple[str, ...]:
    """A remark on files or folders beside the splits that are not read; empty if there are none."""
    names = sorted(names)
    if not names:
        return ()
    return (f"left unread {what}: {shortened(names)}",)


def shortened(names: Sequence[str], most: int = 5) -> str:
    """The first few names and how many follow; of a long name its beginning.

    >>> shortened(["a", "b", "c"], 2)
    'a, b and 1 more'
    """
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{', '.join(map(in_short, names[:most]))}{more}"


def in_short(name: str) -> str:
    """A name in a message, cut after `LONGEST_NAME` characters."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}..."
