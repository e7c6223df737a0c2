"""Progress on standard error: bars in a terminal, plain lines in a log."""

from __future__ import annotations

import time

from rich.progress import Progress

from ncfm._utils.progress import counted
from ncfm.cli._output import console, errors
from ncfm.cli._progress_columns import clock, columns

LINE_SECONDS = 60.0  # between two lines of a stage in a log
MEASURED = 2  # units after the first one before which no remaining time is estimated


class BarReporter:
    """Progress bars with an estimate of the remaining time; plain lines if standard error is not a terminal.

    In a log a stage has one line when it begins, at most one per minute while it lasts, and one when it ends. None of
    them moves the cursor.
    """

    def __init__(self, quiet: bool = False) -> None:
        quiet = self.quiet = quiet or console.quiet  # only the first rank prints
        self._bars = Progress(
            *columns(errors.width),
            expand=True,
            console=errors,
            get_time=lambda: time.monotonic(),
            disable=quiet or not errors.is_terminal,
        )
        self._in_lines = not quiet and not errors.is_terminal
        self._stage, self._total, self._note = "", 0, ""
        self._first: tuple[int, float] | None = None  # the first update of a stage: finished units, and when
        self._began = self._printed = time.monotonic()
        self._task = None if quiet else self._bars.add_task("", note="", unit="", ends=None, visible=False)

    def __enter__(self) -> BarReporter:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, stage: str, total: int, unit: str = "step") -> None:
        """Start a bar."""
        self._stage, self._total, self._note, self._first = stage, total, "", None
        self._began = self._printed = time.monotonic()
        if self.quiet:
            return
        units = counted(total, unit).partition(" ")[2]
        self._task = self._bars.add_task(stage, total=total, note="", unit=units, ends=None)
        if self._in_lines:
            self._print(f"{stage}: {counted(total, unit)}")

    def update(self, done: int, note: str = "") -> None:
        """Move the bar."""
        self._note = note
        left = self._seconds_left(done)
        if self._task is not None:
            ends = None if left is None else time.monotonic() + left
            self._bars.update(self._task, completed=done, note=note, ends=ends)
        if self._in_lines and done < self._total and time.monotonic() - self._printed >= LINE_SECONDS:
            self._printed = time.monotonic()
            remaining = "" if left is None else f", {clock(left)} left"
            self._print(f"{self._stage}: {done} of {self._total}{remaining}", note)

    def end(self) -> None:
        """Fill the bar."""
        if self._task is not None:
            self._bars.update(self._task, completed=self._total)
        if self._in_lines:
            self._print(f"{self._stage}: done in {clock(time.monotonic() - self._began)}", self._note)

    def _seconds_left(self, done: int) -> float | None:
        """From the units after the first one, which may have compiled code, or was done before a run was resumed."""
        if self._first is None:
            self._first = (done, time.monotonic())
        measured, seconds = done - self._first[0], time.monotonic() - self._first[1]
        return None if measured < MEASURED else seconds * (self._total - done) / measured

    def remark(self, text: str) -> None:
        """Print a line."""
        if not self.quiet:
            self._print(text)

    def _print(self, line: str, note: str = "") -> None:
        text = f"{line}, {note}" if note else line
        errors.print(text, highlight=False, markup=False, soft_wrap=not errors.is_terminal)  # whole words, or one line
