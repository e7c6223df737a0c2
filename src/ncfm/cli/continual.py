"""``ncfm continual``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import Output, Plot, Results, Setup, Students, Subject, flatten_options, split_names
from ncfm.cli._output import accuracy, check_picture, print_json, say, show, table

if TYPE_CHECKING:
    from rich.table import Table


@flatten_options
def command(
    subject: Subject,
    *,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Steps in which the classes arrive.")] = 5,
    methods: Annotated[
        str,
        typer.Option(
            "--methods",
            "-m",
            metavar="A,B",
            help="Memories to compare with: random, herding, kcenter, kmeans, mosaic, rded.",
        ),
    ] = "random,herding",
    students: Students,
    setup: Setup,
    results: Results = None,
    plot: Plot = None,
    output: Output,
) -> None:
    """Continual learning: classes arrive in steps, and the set is the memory of the earlier ones.

    Example: `ncfm continual runs/digits-ipc1 --steps 5 --plot curve.png`

    After each step a fresh network is trained on the memory of the classes seen so far, and tested on these classes.
    Selections of real images at the same storage are tested next to the set. All memories see the classes in the same
    orders.
    """
    check_picture(plot)
    with output.progress() as reporter:
        found = ncfm.continual(
            subject.path,
            subject.on,
            steps=steps,
            methods=split_names(methods),
            changed_data=subject.changed_data,
            results=results,
            reporter=reporter,
            **setup.arguments(evaluate__runs=students.runs, evaluate__epochs=students.epochs),
        )
    if plot is not None:
        from ncfm.results.plots import plot_continual

        plot_continual(found, plot, f"{subject.title}, {counted(steps, 'step')}")
    if output.as_json:
        print_json({name: asdict(result) | {"average": result.average.mean} for name, result in found.items()})
        return
    show(_table(found))
    runs = counted(len(found["set"].accuracies[0]), "run")
    say(f"Accuracy in % on the classes seen, mean ± standard deviation over {runs}.")


def _table(found: Mapping[str, ncfm.ContinualResult]) -> Table:
    made = table("classes seen", *found)
    for i, seen in enumerate(found["set"].classes_seen):
        made.add_row(str(seen), *(accuracy(result.curve[i]) for result in found.values()))
    made.add_section()
    made.add_row("mean", *(accuracy(result.average) for result in found.values()))
    return made
