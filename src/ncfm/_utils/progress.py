"""The interface that reports the progress of a run."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives the progress of a run: the start of each stage, its finished units, and its end."""

    def begin(self, stage: str, total: int, unit: str = "step") -> None:
        """A stage begins.

        Args:
            stage: its name, such as "teachers".
            total: units of the whole stage.
            unit: what is counted, in the singular: "epoch", "iteration", "student".
        """
        ...

    def update(self, done: int, note: str = "") -> None:
        """``done`` units of the stage are finished; ``note`` is a short remark to show next to them."""
        ...

    def end(self) -> None:
        """The stage is finished."""
        ...

    def remark(self, text: str) -> None:
        """A line between the stages, such as a setting that was chosen for the data, and why."""
        ...


class Silent:
    """A reporter that shows nothing."""

    def begin(self, stage: str, total: int, unit: str = "step") -> None:
        """Do nothing."""

    def update(self, done: int, note: str = "") -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""

    def remark(self, text: str) -> None:
        """Do nothing."""


def counted(number: int, noun: str) -> str:
    """A number with its noun, in the plural unless it is 1.

    >>> counted(1, "epoch"), counted(3000, "iteration"), counted(2, "class"), counted(2, "column of pixels")
    ('1 epoch', '3,000 iterations', '2 classes', '2 columns of pixels')
    """
    word, of, rest = noun.partition(" of ")
    plural = "" if number == 1 else "es" if word.endswith("s") else "s"
    return f"{number:,} {word}{plural}{of}{rest}"
