"""``ncfm evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ncfm._utils.checks import NcfmError
from ncfm._utils.distributed import Ranks
from ncfm.cli._common import (
    AsJson,
    BarReporter,
    DataDir,
    Device,
    Epochs,
    Fresh,
    On,
    Quiet,
    Results,
    Runs,
    Seed,
    Set,
    console,
    print_json,
    settings_of,
)
from ncfm.config.resolve import CONFIG_FILE
from ncfm.config.schema import make_config, nest
from ncfm.evaluation import PROTOCOLS, EvaluationResult, interval
from ncfm.evaluation.statistics import compare_runs, runs_needed
from ncfm.formats.reading import is_set
from ncfm.results.files import append_rows
from ncfm.results.formatting import interval_of, mean_of
from ncfm.results.published import published
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.storage import SCORES_FILE, add_scores, load
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.compare import Scored, accuracy_row
from ncfm.workflows.evaluate import evaluate
from ncfm.workflows.stages import scores


def command(
    path: Annotated[
        str,
        typer.Argument(
            metavar="SET",
            help="A synthetic set or its run folder; or any set: image folder, .parquet, .npz, .pt, .safetensors.",
        ),
    ],
    on: On = None,
    against: Annotated[
        str | None, typer.Option("--against", metavar="SET", help="Another set, compared with it student by student.")
    ] = None,
    networks: Annotated[
        str | None,
        typer.Option("--networks", metavar="A,B", help="Students: convnet, alexnet, vgg11, resnet18-batch, ..."),
    ] = None,
    runs: Runs = None,
    epochs: Epochs = None,
    protocol: Annotated[str | None, typer.Option("--protocol", metavar="P", help=f"Of {', '.join(PROTOCOLS)}.")] = None,
    fresh: Fresh = False,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    results: Results = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Train fresh students on a set and test them on real data.

    Example: `ncfm evaluate runs/digits-ipc1 --runs 5`

    Example: `ncfm evaluate their-images/ --on cifar10 --networks convnet,alexnet,vgg11,resnet18`

    The result is the accuracy after the last epoch: mean, standard deviation and 95 % interval over students. Students
    that were trained before on the same images, by the same recipe and seed, are remembered (--fresh trains them).
    """
    settings = settings_of(
        set_,
        evaluate__runs=runs,
        evaluate__epochs=epochs,
        evaluate__protocol=protocol,
        machine__device=device,
    )
    judged = {place: _opened(place, on) for place in dict.fromkeys([path, *([against] if against else [])])}
    found: dict[str, list[EvaluationResult]] = {place: [] for place in judged}
    for network in [name.strip() for name in networks.split(",")] if networks else [None]:
        chosen = settings if network is None else settings | {"evaluate.network": network}
        for place, judged_set in judged.items():
            with BarReporter(quiet) as reporter:
                evaluation = evaluate(
                    judged_set, on, settings=chosen, seed=seed, data_dir=data_dir, fresh=fresh, reporter=reporter
                )
            found[place].append(evaluation)
            if results is not None and Ranks.here().is_main:
                append_rows(results, [_row(judged_set, evaluation, on, chosen, seed)])
    for place, evaluations in found.items():
        if (Path(place) / CONFIG_FILE).is_file() and Ranks.here().is_main:
            other = {} if on is None else {"data": on}  # not what the set was made from, as far as anybody knows
            add_scores(Path(place) / SCORES_FILE, [scores(e) | other for e in evaluations])
    if as_json:
        print_json([scores(e) | ({"set": place} if against else {}) for place in found for e in found[place]])
        return
    for place, judged_set in judged.items():
        _tell(place, judged_set, found[place], on)
    if against:
        for ours, theirs in zip(found[path], found[against], strict=True):
            console.print(_difference(ours, theirs), highlight=False)


def _tell(place: str, judged: SyntheticSet | str, evaluations: list[EvaluationResult], on: str | None) -> None:
    """A set's table, with what its students learned from."""
    data, ipc = on, None
    if isinstance(judged, SyntheticSet):
        data, ipc = on or judged.facts.get("data"), judged.ipc
    first = evaluations[0]
    console.print(place, highlight=False, markup=False, soft_wrap=True)
    console.print(_table(evaluations, data, ipc), highlight=False)
    console.print(
        f"{len(first.accuracies)} students, the last of {first.epochs} epochs on {first.num_images} images; "
        f"protocol {first.protocol}.",
        highlight=False,
    )


def _opened(place: str, on: str | None) -> SyntheticSet | str:
    """The set at a place; another program's stays where it is until its data are known."""
    if is_set(place):
        return load(place)
    if on is None:
        raise NcfmError(f"{place} was not made by ncfm and does not say what data it stands for; name them with --on.")
    return place


def _table(evaluations: list[EvaluationResult], data: str | None, ipc: int | None) -> Table:
    papers = [published(data, ipc, e.network) for e in evaluations]
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    table.add_column("network", no_wrap=True)
    headings = ["accuracy %", "95 % interval", "calibration\nerror", "seconds"]
    for heading in headings + (["paper %"] if any(papers) else []):
        table.add_column(heading, justify="right", no_wrap=True)
    for e, paper in zip(evaluations, papers, strict=True):
        spread = e.interval
        cells = [
            mean_of(spread.mean, spread.std, spread.low),
            interval_of(spread.low, spread.high),
            f"{e.calibration_error.mean:.3f}",
            f"{e.seconds:.0f}",
        ]
        table.add_row(e.network, *cells, *([f"{paper:.1f}" if paper else "-"] if any(papers) else []))
    return table


def _difference(ours: EvaluationResult, theirs: EvaluationResult) -> str:
    """What the first set is ahead of the second, and how many students it would take to be sure."""
    if len(ours.accuracies) < 2:
        return f"{ours.network}: one student each says nothing about a difference; use --runs 3 or more."
    found = compare_runs(ours.accuracies, theirs.accuracies)
    std = interval([a - b for a, b in zip(ours.accuracies, theirs.accuracies, strict=True)]).std
    text = (
        f"{ours.network}: first less second {100 * found.difference:+.2f} points "
        f"(95 % interval {100 * found.low:+.2f} to {100 * found.high:+.2f}, p = {found.p_value:.2g}, paired by seed)."
    )
    if std > 0:
        text += f" A difference of 1 point shows with {runs_needed(std, 0.01)} students of each (power 0.8)."
    return text


def _row(
    judged: SyntheticSet | str, evaluation: EvaluationResult, on: str | None, settings: dict[str, Any], seed: int | None
) -> AccuracyRow:
    facts = judged.facts if isinstance(judged, SyntheticSet) else {}
    config = make_config(facts.get("config", {}), nest(settings), {} if seed is None else {"seed": seed})
    storage = judged.storage if isinstance(judged, SyntheticSet) else evaluation.num_images / len(evaluation.per_class)
    scored = Scored(
        name="",
        method=facts.get("method", "foreign"),
        variant=facts.get("variant", "") if facts else Path(str(judged)).name,
        seed=config.seed,
        evaluation=evaluation,
        storage=storage,
        teacher_seconds=facts.get("teacher_seconds"),
        distill_seconds=facts.get("distill_seconds"),
        iterations=facts.get("iterations"),
        distill_memory_mb=facts.get("distill_memory_mb"),
        training_images=facts.get("training_images"),
    )
    ipc = judged.ipc if isinstance(judged, SyntheticSet) else round(storage)
    return accuracy_row(scored, on or facts.get("data", "unknown"), ipc, config)
