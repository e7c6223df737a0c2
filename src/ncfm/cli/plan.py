"""``ncfm plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from rich.table import Table

from ncfm.cli._common import AsJson, Data, DataDir, Device, Ipc, Recipe, Seed, Set, console, print_json, settings_of
from ncfm.results.formatting import duration
from ncfm.workflows import plan as planning


def command(
    data: Data,
    ipc: Ipc,
    recipe: Recipe = None,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Timed steps of each stage.")] = 5,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Say how long a run will take and how much memory, from a few timed steps. Nothing is written.

    Example: `ncfm plan cifar10 --ipc 10`
    """
    found = planning.plan(
        data,
        ipc=ipc,
        recipe=recipe,
        settings=settings_of(set_, machine__device=device),
        seed=seed,
        data_dir=data_dir,
        steps=steps,
    )
    if as_json:
        print_json(asdict(found) | {"seconds": found.seconds})
        return
    table = Table(
        "stage", "left to do", "each", "together", title=f"{data}, {ipc} image{'s' * (ipc > 1)} per class: predicted"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for stage in found.stages:
        plural = stage.unit + "s" * (stage.units != 1)
        table.add_row(stage.name, f"{stage.units} {plural}", duration(stage.seconds_per_unit), duration(stage.seconds))
    table.add_row("all", "", "", duration(found.seconds), style="bold")
    console.print(table)
    free = "unknown" if found.available_memory_mb is None else f"{found.available_memory_mb:.0f} MiB"
    passes = "all synthetic images in one pass" if found.images_per_pass is None else f"{found.images_per_pass} a pass"
    console.print(
        f"Memory: {found.peak_memory_mb:.0f} MiB at the peak, {free} free before; {passes}. "
        f"On {found.device}, {found.threads} threads.",
        highlight=False,
    )
