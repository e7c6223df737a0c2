"""``ncfm plan``."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import Output, Problem, Setup, flatten_options
from ncfm.cli._output import print_json, say, show, table

if TYPE_CHECKING:
    from ncfm.workflows.profile import Profile


@flatten_options
def command(
    problem: Problem,
    *,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Timed steps per stage.")] = 5,
    with_profile: Annotated[
        bool,
        typer.Option("--profile", help="In place of the plan: what each stage of an iteration and of an epoch takes."),
    ] = False,
    setup: Setup,
    output: Output,
) -> None:
    """Predict the time and memory of a run from a few timed steps. Nothing is written.

    Example: `ncfm plan cifar10 --ipc 10`

    An estimate by arithmetic comes first. The timed steps use at most half of the free memory.
    """
    if with_profile:
        _profile(problem, steps, setup, output)
        return
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
    show(made)
    free = "unknown" if found.available_memory_mb is None else f"{found.available_memory_mb:.0f} MiB"
    limit = "" if found.memory_limit_mb is None else f" This plan was limited to {found.memory_limit_mb:.0f} MiB."
    say(
        f"Peak memory: {found.peak_memory_mb:.0f} MiB ({free} available before), of which an iteration takes "
        f"{found.iteration_memory_mb:.0f} MiB; {_passes(found.images_per_pass)}.{limit} "
        f"On {found.device}, {counted(found.threads, 'thread')}."
    )
    if found.checkpoints_mb:
        say(f"Checkpoints of the teachers: {found.checkpoints_mb:.1f} MiB on disk, in the cache.")
    if found.images_per_pass is not None:
        say("--set machine.memory_mb=N allows an iteration N MiB; passes then hold as many images as fit.")


def _passes(images: int | None) -> str:
    """The synthetic images of a pass, in words."""
    if images is None:
        return "all synthetic images in one pass"
    return f"at most {counted(images, 'synthetic image')} per pass"


def _profile(problem: Problem, steps: int, setup: Setup, output: Output) -> None:
    """Measure and print the stages."""
    from ncfm.workflows.profile import profile

    with output.progress() as reporter:
        found = profile(
            problem.data, ipc=problem.ipc, recipe=problem.recipe, steps=steps, reporter=reporter, **setup.arguments()
        )
    if output.as_json:
        print_json(asdict(found))
        return
    for unit in dict.fromkeys(stage.unit for stage in found.stages):
        _print_stages(found, unit, problem.title)
    rates = " and ".join(f"{rate / 1e9:.0f} in {name}" for name, rate in found.rates.items())
    say(
        f"A large matrix product reaches {rates} GFLOP per second by the same clock. Networks compute in "
        f"{found.precision}. An iteration takes {found.iteration_memory_mb:.0f} MiB; {_passes(found.images_per_pass)}. "
        f"On {found.device}, {counted(found.threads, 'thread')}."
    )


def _print_stages(found: Profile, unit: str, title: str) -> None:
    """The stages of an iteration or of an epoch, with their sum."""
    own = [stage for stage in found.stages if stage.unit == unit]
    made = table("stage", found.clock, "share", "GFLOP", "of ceiling", title=f"{title}: {unit}")
    for stage in own:
        done = f"{stage.operations / 1e9:.3g}" if stage.operations else "-"
        rate = f"{stage.share_of_ceiling:.0%}" if stage.operations else "-"
        made.add_row(stage.name, f"{stage.seconds:.3g}", f"{stage.share:.0%}", done, rate)
    total = sum(stage.operations for stage in own) / 1e9
    made.add_row("total", f"{found.seconds(unit):.3g}", "", f"{total:.3g}", "", style="bold")
    show(made)
