"""The columns of the progress bars, by the width of the terminal: numbers are never cut off, and notes only whole."""

from __future__ import annotations

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.table import Column
from rich.text import Text

NUMBERS = 40  # characters of "20000/20000 iterations 336:00:00 left", with the gaps
NARROW, WIDE = 80, 100  # characters of a terminal from which on there is a bar, and a long one


def columns(width: int) -> list[ProgressColumn]:
    """Name, bar, counts, time and note for a terminal of ``width`` characters; a narrow one has no bar."""
    bar = 0 if width < NARROW else 8 if width < WIDE else 12
    most = max(width - NUMBERS - bar, 12)  # characters of a name
    name = Column(no_wrap=True, overflow="ellipsis", max_width=most)
    return [
        TextColumn("[bold]{task.description}", table_column=name),
        *([BarColumn(bar_width=bar)] if bar else []),
        _Counts(),
        _Left(),
        _Note(table_column=Column(ratio=1, no_wrap=True)),
    ]


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3723), clock(90_000)
    ('1:02:03', '25:00:00')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"


class _Counts(ProgressColumn):
    """``12/60 epochs``."""

    def get_table_column(self) -> Column:
        return Column(no_wrap=True)

    def render(self, task: Task) -> Text:
        total = "?" if task.total is None else f"{task.total:.0f}"
        done = f"{task.completed:.0f}".rjust(len(total))
        return Text(f"{done}/{total} {task.fields['unit']}", style="progress.download")


class _Left(ProgressColumn):
    """The remaining time; of a finished stage the time that it took."""

    max_refresh = 0.5  # seconds

    def get_table_column(self) -> Column:
        return Column(no_wrap=True)

    def render(self, task: Task) -> Text:
        if task.finished:
            return Text("" if task.finished_time is None else clock(task.finished_time), style="progress.elapsed")
        ends = task.fields["ends"]  # on the clock of the bars; None until enough units are measured
        return Text("" if ends is None else f"{clock(max(ends - task.get_time(), 0))} left", style="progress.remaining")


class _Note(ProgressColumn):
    """The remark about the last unit, such as its loss."""

    def render(self, task: Task) -> _WholeParts:
        return _WholeParts(task.fields["note"])


class _WholeParts:
    """As many of the parts of a text, which commas separate, as fit: a number that is cut off would be another one."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = ""
        for part in self.text.split(", "):
            longer = f"{shown}, {part}" if shown else part
            if cell_len(longer) > options.max_width:
                break
            shown = longer
        yield Text(shown, no_wrap=True)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(0, cell_len(self.text))
