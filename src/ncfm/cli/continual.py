"""``ncfm continual``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ncfm._utils.types import Interval
from ncfm.cli._common import (
    AsJson,
    BarReporter,
    DataDir,
    Device,
    Epochs,
    On,
    OwnSet,
    Plot,
    Quiet,
    Results,
    Runs,
    Seed,
    Set,
    console,
    print_json,
    row_facts,
    settings_of,
)
from ncfm.config.build import build_protocol
from ncfm.config.schema import make_config, nest
from ncfm.evaluation.continual import ContinualResult
from ncfm.results.files import append_rows
from ncfm.results.formatting import mean_of
from ncfm.results.plots import plot_continual
from ncfm.results.rows import ContinualRow
from ncfm.synthetic.storage import load
from ncfm.workflows.continual import continual


def command(
    path: OwnSet,
    on: On = None,
    steps: Annotated[int, typer.Option("--steps", metavar="N", help="Steps in which the classes arrive.")] = 5,
    methods: Annotated[
        str, typer.Option("--methods", "-m", metavar="A,B", help="Memories beside it: random, herding, kcenter, ...")
    ] = "random,herding",
    runs: Runs = None,
    epochs: Epochs = None,
    plot: Plot = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    results: Results = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Continual learning: classes arrive in steps, and the set is all that is remembered of them.

    Example: `ncfm continual runs/digits-ipc1 --steps 5 --plot curve.png`

    After each step a fresh network is trained on the memory of the classes seen and tested on these classes; beside the
    set, memories of selected real images at the same storage. The orders of the classes are the same for all.
    """
    settings = settings_of(set_, evaluate__runs=runs, evaluate__epochs=epochs, machine__device=device)
    others = [name.strip() for name in methods.split(",") if name.strip()]
    with BarReporter(quiet) as reporter:
        found = continual(
            path, on, steps=steps, methods=others, settings=settings, seed=seed, data_dir=data_dir, reporter=reporter
        )
    synthetic = load(path)
    facts = row_facts(synthetic, on, settings, seed)
    if results is not None:
        config = make_config(synthetic.facts.get("config", {}), nest(settings))
        judged = {"network": config.evaluate.network, "protocol": build_protocol(config).name, "steps": steps}
        append_rows(results, [row for name, result in found.items() for row in _rows(name, result, facts | judged)])
    if plot is not None:
        title = f"{facts['dataset']}, {synthetic.ipc} image{'s' * (synthetic.ipc > 1)} per class, {steps} steps"
        plot_continual(found, plot, title)
    if as_json:
        print_json({name: asdict(result) | {"average": result.average.mean} for name, result in found.items()})
        return
    console.print(_table(found), highlight=False)
    num_runs = len(found["set"].accuracies[0])
    console.print(f"Accuracy in % on the classes seen, mean ± deviation over {num_runs} runs.", highlight=False)


def _rows(memory: str, result: ContinualResult, facts: dict[str, Any]) -> list[ContinualRow]:
    return [
        ContinualRow(
            memory=memory,
            classes_seen=seen,
            accuracy_mean=point.mean,
            accuracy_std=point.std,
            accuracy_low=point.low,
            accuracy_high=point.high,
            num_runs=len(of_runs),
            **facts,
        )
        for seen, point, of_runs in zip(result.classes_seen, result.curve, result.accuracies, strict=True)
    ]


def _table(found: dict[str, ContinualResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("classes seen", justify="right", no_wrap=True)
    for name in found:
        table.add_column(name, justify="right", no_wrap=True)
    for i, seen in enumerate(found["set"].classes_seen):
        table.add_row(str(seen), *(_cell(result.curve[i]) for result in found.values()))
    table.add_section()
    table.add_row("mean", *(_cell(result.average) for result in found.values()))
    return table


def _cell(point: Interval) -> str:
    return mean_of(point.mean, point.std, point.low)
