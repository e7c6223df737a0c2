"""``ncfm score``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import FullEpochs, Output, Results, Setup, Students, Subject, flatten_options
from ncfm.cli._output import accuracy, console, print_json, show, table

if TYPE_CHECKING:
    from rich.table import Table


@flatten_options
def command(
    subject: Subject,
    *,
    students: Students,
    full_epochs: FullEpochs = 20,
    full_runs: Annotated[
        int | None,
        typer.Option("--full-runs", metavar="N", help="Networks on the full training split; default: as --runs."),
    ] = None,
    setup: Setup,
    results: Results = None,
    output: Output,
) -> None:
    """Compute DD-Ranking's label-robust and augmentation-robust scores (LRS, ARS) of a set.

    Example: `ncfm score runs/digits-ipc1 --runs 5`

    Soft labels and augmentation alone cannot raise these scores. Students are trained on the set, on random images at
    the same storage and on the full training split, with and without augmentation.
    """
    with output.progress() as reporter:
        found = ncfm.score(
            subject.path,
            subject.on,
            full_epochs=full_epochs,
            full_runs=full_runs,
            changed_data=subject.changed_data,
            results=results,
            reporter=reporter,
            **setup.arguments(evaluate__runs=students.runs, evaluate__epochs=students.epochs),
        )
    if output.as_json:
        print_json(_as_dict(found))
    else:
        _print(found)


def _as_dict(found: ncfm.ScoreResult) -> dict[str, object]:
    return {
        "hard_label_recovery": found.hard_label_recovery,
        "improvement_over_random": found.improvement_over_random,
        "label_robust_score": found.label_robust_score._asdict(),
        "augmentation_robust_score": found.augmentation_robust_score._asdict(),
        "storage": found.storage,
        "accuracies": {name: list(e.accuracies) for name, e in found.evaluations.items()},
    }


def _print(found: ncfm.ScoreResult) -> None:
    lrs, ars = found.label_robust_score, found.augmentation_robust_score
    lines = [
        f"Hard label recovery     HLR {found.hard_label_recovery:+.3f}  (loss against the full dataset)",
        f"Improvement over random IOR {found.improvement_over_random:+.3f}",
        f"Label-robust score      LRS {lrs.value:.3f}   (95 % interval {lrs.low:.3f} to {lrs.high:.3f})",
        f"Augmentation-robust     ARS {ars.value:.3f}   (95 % interval {ars.low:.3f} to {ars.high:.3f})",
    ]
    show(_table(found))
    console.print("\n".join(lines), highlight=False)


def _table(found: ncfm.ScoreResult) -> Table:
    names = {
        "full_hard": f"full dataset, hard labels ({counted(found.full_hard.epochs, 'epoch')})",
        "synthetic_hard": "set, hard labels",
        "synthetic": "set",
        "random": f"random images, {found.storage} per class",
        "synthetic_plain": "set, no augmentation",
        "random_plain": "random images, no augmentation",
    }
    made = table("trained on", "accuracy %")
    for name, evaluation in found.evaluations.items():
        made.add_row(names[name], accuracy(evaluation.interval))
    return made
