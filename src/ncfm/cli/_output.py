"""What the commands print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from ncfm._utils.writable import check_writable

if TYPE_CHECKING:
    from rich.table import Table

    from ncfm._utils.types import Interval

console = Console()
errors = Console(stderr=True)


def say(text: str, *, wrap: bool = True) -> None:
    """Print a sentence as it is; without ``wrap`` on one line, so that a path can be copied."""
    console.print(text, highlight=False, markup=False, soft_wrap=not wrap)


def check_picture(path: Path | None) -> None:
    """Check that a picture can be written, before the work that it shows.

    Raises:
        NcfmError: if it cannot.
    """
    if path is not None:
        check_writable(path, "a picture")


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, unless another rank does."""
    if not console.quiet:
        typer.echo(json.dumps(value, indent=2))


def table(first: str, *numbers: str, title: str | None = None, caption: str | None = None, fold: bool = False) -> Table:
    """A table without lines between its columns, so that it fits into 80 characters.

    Args:
        first: heading of the first column, which holds names.
        numbers: headings of the other columns.
        title, caption: above and below the table.
        fold: break long names into lines, instead of cutting them off.
    """
    from rich import box
    from rich.table import Table

    made = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    made.add_column(first, no_wrap=not fold, overflow="fold" if fold else "ellipsis")
    for heading in numbers:
        made.add_column(heading, justify="right", no_wrap=True)
    return made


def accuracy(spread: Interval) -> str:
    """An accuracy in percent with its standard deviation, if it has one."""
    from ncfm.results.formatting import mean_of

    return mean_of(spread.mean, spread.std, spread.low)
