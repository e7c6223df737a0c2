"""Progress on standard error: bars in a terminal, plain lines in a log."""

from __future__ import annotations

import time
from datetime import timedelta

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column

from ncfm._utils.progress import counted
from ncfm.cli._output import console, errors

LINE_SECONDS = 60.0  # between two lines of a stage in a log


class BarReporter:
    """Progress bars with an estimate of the remaining time; plain lines if standard error is no terminal.

    In a log a stage has one line when it begins, at most one per minute while it lasts, and one when it ends. None of
    them moves the cursor.
    """

    def __init__(self, quiet: bool = False) -> None:
        quiet = self.quiet = quiet or console.quiet  # only the first rank prints
        self._bars = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[left]}"),
            TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True)),  # cut off if too long
            expand=True,
            console=errors,
            disable=quiet or not errors.is_terminal,
        )
        self._in_lines = not quiet and not errors.is_terminal
        self._stage, self._total, self._note = "", 0, ""
        self._began = self._printed = time.monotonic()
        self._task = None if quiet else self._bars.add_task("", note="", unit="", left="", visible=False)

    def __enter__(self) -> BarReporter:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, stage: str, total: int, unit: str = "step") -> None:
        """Start a bar."""
        self._stage, self._total, self._note = stage, total, ""
        self._began = self._printed = time.monotonic()
        if self.quiet:
            return
        units = counted(total, unit).partition(" ")[2]
        self._task = self._bars.add_task(stage, total=total, note="", unit=units, left="left")
        if self._in_lines:
            self._print(f"{stage}: {counted(total, unit)}")

    def update(self, done: int, note: str = "") -> None:
        """Move the bar."""
        self._note = note
        if self._task is not None:
            self._bars.update(self._task, completed=done, note=note)
        if self._in_lines and done < self._total and time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            left = (self._printed - self._began) * (self._total - done) / max(done, 1)
            self._print(f"{self._stage}: {done} of {self._total}, {_clock(left)} left", note)

    def end(self) -> None:
        """Fill the bar."""
        if self._task is not None:
            self._bars.update(self._task, completed=self._total, left="")
        if self._in_lines:
            self._print(f"{self._stage}: done in {_clock(time.monotonic() - self._began)}", self._note)

    def _print(self, line: str, note: str = "") -> None:
        errors.print(f"{line}, {note}" if note else line, highlight=False, markup=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``."""
    return str(timedelta(seconds=round(seconds)))
