"""``ncfm score``."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ncfm.cli._common import (
    AsJson,
    BarReporter,
    DataDir,
    Device,
    Epochs,
    FullEpochs,
    On,
    OwnSet,
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
from ncfm.results.files import append_rows
from ncfm.results.formatting import mean_of
from ncfm.results.rows import ScoreRow
from ncfm.synthetic.storage import load
from ncfm.workflows.loaded_set import FULL_EPOCHS
from ncfm.workflows.score import ScoreResult, score


def command(
    path: OwnSet,
    on: On = None,
    runs: Runs = None,
    epochs: Epochs = None,
    full_epochs: FullEpochs = FULL_EPOCHS,
    full_runs: Annotated[
        int | None, typer.Option("--full-runs", metavar="N", help="Networks on the full split; default: --runs.")
    ] = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    results: Results = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Scores of a set that labels and augmentation alone cannot raise (DD-Ranking): LRS and ARS.

    Example: `ncfm score runs/digits-ipc1 --runs 5`

    Trains students of the set, of random images at the same storage, of the full set; with and without augmentation.
    """
    settings = settings_of(set_, evaluate__runs=runs, evaluate__epochs=epochs, machine__device=device)
    with BarReporter(quiet) as reporter:
        found = score(
            path,
            on,
            full_epochs=full_epochs,
            full_runs=full_runs,
            settings=settings,
            seed=seed,
            data_dir=data_dir,
            reporter=reporter,
        )
    lrs, ars = found.label_robust_score, found.augmentation_robust_score
    if results is not None:
        append_rows(results, [_row(path, on, seed, settings, found)])
    if as_json:
        print_json(
            {
                "hard_label_recovery": found.hard_label_recovery,
                "improvement_over_random": found.improvement_over_random,
                "label_robust_score": lrs._asdict(),
                "augmentation_robust_score": ars._asdict(),
                "storage": found.storage,
                "accuracies": {name: list(e.accuracies) for name, e in found.evaluations.items()},
            }
        )
        return
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for heading in ("accuracy of", "%"):
        table.add_column(heading, justify="left" if heading != "%" else "right", no_wrap=True)
    names = {
        "full_hard": f"full set, hard labels ({full_epochs} epochs)",
        "synthetic_hard": "set, hard labels",
        "synthetic": "set",
        "random": f"random images, {found.storage} a class",
        "synthetic_plain": "set, no augmentation",
        "random_plain": "random images, no augmentation",
    }
    for name, evaluation in found.evaluations.items():
        spread = evaluation.interval
        table.add_row(names[name], mean_of(spread.mean, spread.std, spread.low))
    console.print(table, highlight=False)
    lines = [
        f"Hard label recovery     HLR {found.hard_label_recovery:+.3f}  (lost against the full set)",
        f"Improvement over random IOR {found.improvement_over_random:+.3f}",
        f"Label-robust score      LRS {lrs.value:.3f}   (95 % interval {lrs.low:.3f} to {lrs.high:.3f})",
        f"Augmentation-robust     ARS {ars.value:.3f}   (95 % interval {ars.low:.3f} to {ars.high:.3f})",
    ]
    console.print("\n".join(lines), highlight=False)


def _row(path: str, on: str | None, seed: int | None, settings: dict[str, Any], found: ScoreResult) -> ScoreRow:
    lrs, ars = found.label_robust_score, found.augmentation_robust_score
    trained = {id(student): student.seconds for e in found.evaluations.values() for student in e.students}
    return ScoreRow(
        network=found.synthetic.network,
        protocol=found.synthetic.protocol,
        hard_label_recovery=found.hard_label_recovery,
        improvement_over_random=found.improvement_over_random,
        label_robust_score=lrs.value,
        label_robust_low=lrs.low,
        label_robust_high=lrs.high,
        augmentation_robust_score=ars.value,
        augmentation_robust_low=ars.low,
        augmentation_robust_high=ars.high,
        full_accuracy=found.full_hard.accuracy_mean,
        full_protocol=found.full_hard.protocol,
        num_runs=len(found.synthetic.students),
        seconds=sum(trained.values()),
        **row_facts(load(path), on, settings, seed),
    )
