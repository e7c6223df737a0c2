"""``ncfm evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ncfm import api
from ncfm._files import write_json
from ncfm.build import build_machine
from ncfm.cli._common import (
    AsJson,
    BarReporter,
    DataDir,
    Device,
    Quiet,
    Seed,
    Set,
    console,
    print_json,
    settings_of,
)
from ncfm.comparison import Scored, accuracy_row
from ncfm.config import make_config, nest
from ncfm.evaluation import EvaluationResult
from ncfm.report.results import Conditions, append_rows
from ncfm.runs import CONFIG_FILE, SCORES_FILE, read_scores, scores
from ncfm.synthetic import SyntheticSet


def command(
    path: Annotated[str, typer.Argument(metavar="SET", help="A synthetic set or the run folder that holds it.")],
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="DATA", help="Real data; default: what the set was made from."),
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option("--networks", metavar="A,B", help="Students, such as convnet3,convnet3-batch."),
    ] = None,
    runs: Annotated[int | None, typer.Option("--runs", metavar="N", help="Students of each network.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs of a student.")] = None,
    protocol: Annotated[str | None, typer.Option("--protocol", metavar="P", help="quick or ncfm-2025.")] = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="CSV", help="Append a row for every network to this file."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train fresh students on a set and test them on real data.

    Example: `ncfm evaluate runs/digits-ipc1 --runs 5`

    The result is the accuracy after the last epoch: mean, standard deviation and 95 % interval over students.
    """
    synthetic = api.load(path)
    settings = settings_of(
        set_,
        evaluate__runs=runs,
        evaluate__epochs=epochs,
        evaluate__protocol=protocol,
        machine__device=device,
    )
    found = []
    for network in (networks or "").split(",") if networks else [None]:
        chosen = settings if network is None else settings | {"evaluate.network": network.strip()}
        with BarReporter(quiet) as reporter:
            evaluation = api.evaluate(synthetic, on, settings=chosen, seed=seed, data_dir=data_dir, reporter=reporter)
        found.append(evaluation)
        if results is not None:
            _append(results, synthetic, evaluation, on, chosen, seed)
    if (Path(path) / CONFIG_FILE).is_file():
        remembered = read_scores(Path(path) / SCORES_FILE)
        write_json(Path(path) / SCORES_FILE, remembered + [scores(e) for e in found])
    if as_json:
        print_json([scores(e) for e in found])
        return
    for evaluation in found:
        console.print(describe(evaluation), highlight=False)


def describe(e: EvaluationResult) -> str:
    """One line about an evaluation, in percent."""
    spread = e.interval
    text = f"{e.network}: {100 * spread.mean:.1f} ± {100 * spread.std:.1f} %"
    if len(e.accuracies) > 1:
        text += f" (95 % interval {100 * spread.low:.1f} to {100 * spread.high:.1f})"
    return text + f", last epoch of {e.epochs}, {len(e.accuracies)} students, protocol {e.protocol}, {e.seconds:.0f} s"


def _append(
    results: Path,
    synthetic: SyntheticSet,
    evaluation: EvaluationResult,
    on: str | None,
    settings: dict[str, object],
    seed: int | None,
) -> None:
    facts = synthetic.facts
    stored = facts.get("config", {})
    config = make_config(stored, nest(settings), {} if seed is None else {"seed": seed})
    machine = build_machine(config.machine, synthetic.images.shape[-1])
    scored = Scored(
        name="",
        method=facts.get("method", "unknown"),
        variant=facts.get("variant", ""),
        evaluation=evaluation,
        storage=synthetic.ipc,
        teacher_seconds=facts.get("teacher_seconds"),
        distill_seconds=facts.get("distill_seconds"),
        conditions=Conditions.here(machine.device),
    )
    row = accuracy_row(scored, on or facts.get("data", "unknown"), synthetic.ipc, config)
    append_rows(results, [row])
