"""``ncfm pretrain``."""

from __future__ import annotations

from typing import Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import Data, Output, Setup, flatten_options
from ncfm.cli._output import print_json, say


@flatten_options
def command(
    data: Data,
    *,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", "-r", metavar="R", help="Recipe name or .toml file; default: built-in defaults."),
    ] = None,
    number: Annotated[int | None, typer.Option("--number", "-n", metavar="N", help="Number of teachers.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Training epochs per teacher.")] = None,
    setup: Setup,
    output: Output,
) -> None:
    """Train the teachers ahead of time; `distill` loads them from the cache.

    Example: `ncfm pretrain digits --number 3`
    """
    options = setup.arguments(teachers__number=number, teachers__epochs=epochs)
    with output.progress() as reporter:
        pool = ncfm.pretrain(data, recipe=recipe, reporter=reporter, **options)
    if output.as_json:
        print_json({"teachers": len(pool), "seconds": round(pool.seconds, 3)})
    else:
        say(f"{counted(len(pool), 'teacher')}, trained in {pool.seconds:.0f} s in total.")
