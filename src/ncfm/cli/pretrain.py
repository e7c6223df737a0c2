"""``ncfm pretrain``."""

from __future__ import annotations

from typing import Annotated

import typer

from ncfm.cli._common import (
    AsJson,
    BarReporter,
    Data,
    DataDir,
    Device,
    Quiet,
    Recipe,
    Seed,
    Set,
    console,
    print_json,
    settings_of,
)
from ncfm.workflows.pretrain import pretrain


def command(
    data: Data,
    number: Annotated[int | None, typer.Option("--number", "-n", metavar="N", help="Networks in the pool.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs of each.")] = None,
    recipe: Recipe = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train the teachers ahead of time; `distill` finds them in the cache.

    Example: `ncfm pretrain digits --number 3`
    """
    settings = settings_of(set_, teachers__number=number, teachers__epochs=epochs, machine__device=device)
    with BarReporter(quiet) as reporter:
        pool = pretrain(data, recipe=recipe, settings=settings, seed=seed, data_dir=data_dir, reporter=reporter)
    if as_json:
        print_json({"teachers": len(pool), "seconds": round(pool.seconds, 3)})
        return
    console.print(f"{len(pool)} teachers, trained in {pool.seconds:.0f} s altogether.", highlight=False)
