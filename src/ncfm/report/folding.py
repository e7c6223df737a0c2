"""What a page shows when it is opened, and what it folds away: the rest of long rows of classes, charts and images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Never, TypeVar

from ncfm._utils.progress import counted

CLASSES = 4  # with their images: two rows of a wide window
CHARTS = 2  # of a section
PAIRS = 3  # synthetic images with their nearest real ones: one row of a wide window
TABLE_ROWS = 6  # a longer table is folded as a whole
MAX_NAMES = 80  # letters of a summary for the names of what is folded

T = TypeVar("T")
Item = TypeVar("Item", covariant=True)


class Fold(NamedTuple, Generic[Item]):
    """Items of a page: those that are shown at once, and those behind a line that opens them."""

    first: Sequence[Item]
    rest: Sequence[Item]
    summary: str  # that line: what the rest is

    def __bool__(self) -> bool:
        """Whether there is any item."""
        return bool(self.first or self.rest)


NOTHING: Fold[Never] = Fold((), (), "")


def fold(items: Sequence[T], number: int, noun: str, name: Callable[[T], str]) -> Fold[T]:
    """Show the first items, and fold the rest behind a line that counts and names them.

    Args:
        items: all of them, in the order of the page.
        number: that are shown at once.
        noun: for an item, in the singular.
        name: of an item; as many names as fit into `MAX_NAMES` letters are listed.

    >>> fold(["cat", "dog", "frog", "ship"], 2, "class", str).summary
    '2 more classes: frog, ship'
    """
    first, rest = items[:number], items[number:]
    if not rest:
        return Fold(first, rest, "")
    what = f"more {noun}" if first else noun
    return Fold(first, rest, f"{counted(len(rest), what)}: {_listed([name(item) for item in rest])}")


def _listed(names: Sequence[str]) -> str:
    """Names in one line, the first one in any case; three dots stand for those that are left out."""
    shown = [names[0]]
    for name in names[1:]:
        if len(", ".join([*shown, name])) > MAX_NAMES:
            return ", ".join([*shown, "…"])
        shown.append(name)
    return ", ".join(shown)
