"""The interface that reports the progress of a run."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Receives the progress of a run: the start of each stage, its finished units, and its end."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of ``total`` units begins."""
        ...

    def update(self, done: int, note: str = "") -> None:
        """``done`` units of the stage are finished; ``note`` is a short remark to show next to them."""
        ...

    def end(self) -> None:
        """The stage is finished."""
        ...


class Silent:
    """A reporter that shows nothing."""

    def begin(self, stage: str, total: int) -> None:
        """Do nothing."""

    def update(self, done: int, note: str = "") -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""
