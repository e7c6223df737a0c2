"""Who is told how far a run is."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Whoever shows progress: told when a stage begins, how far it is, and when it ends."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of ``total`` units begins."""
        ...

    def update(self, done: int, note: str = "") -> None:
        """``done`` units of the stage are finished; ``note`` is a short remark to show beside."""
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
