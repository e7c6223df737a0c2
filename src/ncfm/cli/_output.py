"""What the commands print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console

from ncfm._utils.writable import check_writable

if TYPE_CHECKING:
    from rich.table import Column, Table

    from ncfm._utils.types import Interval

NAMES = 12  # characters of the first column of a table, at least
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


def show(made: Table) -> None:
    """Print a table; in a terminal that is too narrow for it in parts, which repeat the names of the rows."""
    found = parts(made, console.width)
    for part in found:
        console.print(part, highlight=False)
    if len(found) > 1 and made.caption:  # below one part it would be as narrow as that
        console.print(made.caption, highlight=False)


def parts(made: Table, width: int) -> list[Table]:
    """A table that fits, or tables of some of its columns that do, each after the first column, without the caption.

    The first column may be narrower than its names, but not than `NAMES` characters.
    """
    first, *others = made.columns
    if _fits(made, width):
        return [made]
    found: list[list[Column]] = []
    for group in _groups(others):
        if found and _fits(_part(made, [first, *found[-1], *group]), width):
            found[-1] += group
        else:
            found.append(group)
    tables = [_part(made, [first, *columns]) for columns in found]
    tables[0].title = made.title
    return tables


def _groups(columns: list[Column]) -> list[list[Column]]:
    """Columns that stay together: a heading that leaves its first line to the column before it goes with that."""
    found: list[list[Column]] = []
    for column in columns:
        if found and str(column.header).startswith("\n"):
            found[-1].append(column)
        else:
            found.append([column])
    return found


def _fits(made: Table, width: int) -> bool:
    """Whether a table needs no more than a width, if its first column is as narrow as it may be."""
    from rich.measure import Measurement

    wide = Console(width=10_000)
    first = made.columns[0]
    names = max(Measurement.get(wide, wide.options, cell).maximum for cell in (first.header, *first.cells))
    needed = Measurement.get(wide, wide.options, _part(made, made.columns)).maximum  # without title and caption
    return needed - max(names - NAMES, 0) <= width


def _part(made: Table, columns: list[Column]) -> Table:
    """Some columns of a table, in its style, without title and caption."""
    from rich.table import Table

    part = Table(box=made.box, collapse_padding=made.collapse_padding, pad_edge=made.pad_edge)
    for column in columns:
        part.add_column(column.header, justify=column.justify, no_wrap=column.no_wrap, overflow=column.overflow)
    for row, cells in zip(made.rows, zip(*(column.cells for column in columns), strict=True), strict=True):
        part.add_row(*cells, style=row.style, end_section=row.end_section)
    return part


def accuracy(spread: Interval) -> str:
    """An accuracy in percent with its standard deviation, if it has one."""
    from ncfm.results.formatting import mean_of

    return mean_of(spread.mean, spread.std, spread.low)
