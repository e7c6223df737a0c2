"""``ncfm plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import Output, Problem, Setup, flatten_options
from ncfm.cli._output import console, print_json, say, table


@flatten_options
def command(
    problem: Problem,
    *,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Timed steps per stage.")] = 5,
    setup: Setup,
    output: Output,
) -> None:
    """Predict the time and memory of a run from a few timed steps. Nothing is written.

    Example: `ncfm plan cifar10 --ipc 10`

    An estimate by arithmetic comes first. The timed steps use at most half of the free memory.
    """
    with output.progress() as reporter:
        found = ncfm.plan(
            problem.data, ipc=problem.ipc, recipe=problem.recipe, steps=steps, reporter=reporter, **setup.arguments()
        )
    if output.as_json:
        print_json(asdict(found) | {"seconds": found.seconds})
    else:
        _print(found, problem.title)


def _print(found: ncfm.Plan, title: str) -> None:
    from ncfm.results.formatting import duration

    made = table("stage", "remaining", "per unit", "total", title=f"{title}: predicted time")
    for stage in found.stages:
        remaining = counted(stage.units, stage.unit)
        made.add_row(stage.name, remaining, duration(stage.seconds_per_unit), duration(stage.seconds))
    made.add_row("total", "", "", duration(found.seconds), style="bold")
    console.print(made)
    free = "unknown" if found.available_memory_mb is None else f"{found.available_memory_mb:.0f} MiB"
    passes = "all synthetic images in one pass"
    if found.images_per_pass is not None:
        passes = f"{found.images_per_pass} synthetic images per pass"
    limit = "" if found.memory_limit_mb is None else f" This plan was limited to {found.memory_limit_mb:.0f} MiB."
    say(
        f"Peak memory: {found.peak_memory_mb:.0f} MiB ({free} available before); {passes}.{limit} "
        f"On {found.device}, {counted(found.threads, 'thread')}."
    )
    if found.checkpoints_mb:
        say(f"Checkpoints of the teachers: {found.checkpoints_mb:.1f} MiB on disk, in the cache.")
