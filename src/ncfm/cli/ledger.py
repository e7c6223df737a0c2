"""``ncfm ledger``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm.cli._options import Output, ResultsFile, Setup, Students, flatten_options, split_names
from ncfm.cli._output import print_json, say, show, table

if TYPE_CHECKING:
    from rich.table import Table

    from ncfm.results.rows import LedgerRow


@flatten_options
def command(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with published sets, as files or folders.")],
    *,
    entries: Annotated[
        Path | None,
        typer.Option("--entries", metavar="TOML", help="What the sets are; default: FOLDER/ledger.toml."),
    ] = None,
    only: Annotated[str | None, typer.Option("--only", metavar="A,B", help="Names of some of the sets.")] = None,
    protocol: Annotated[
        str, typer.Option("--protocol", metavar="P", help="Training protocol of all students.")
    ] = "dsa-2021",
    students: Students,
    setup: Setup,
    results: ResultsFile = Path("ledger.csv"),
    output: Output,
) -> None:
    """Re-evaluate published sets under one protocol, next to random and herded images at the same storage.

    Example: `ncfm ledger their-sets/ --epochs 300 --runs 3 --results ledger.csv`

    Two lines of FOLDER/ledger.toml describe a set: `["images_best.pt"]` and `on = "cifar10"`; further keys are
    normalized_by, method, published (percent), source and note. A row is written as soon as a set is finished. Sets
    that the results file already has are not evaluated again.
    """
    given = setup.arguments(evaluate__protocol=protocol, evaluate__runs=students.runs, evaluate__epochs=students.epochs)
    with output.progress() as reporter:
        rows = ncfm.ledger(
            folder,
            entries=entries,
            only=split_names(only),
            results=results,
            reporter=reporter,
            **given | {"seed": given["seed"] or 0},
        )
    if output.as_json:
        print_json([asdict(row) for row in rows])
    elif rows:
        show(_table(rows))
        say(f"Accuracy in percent after the last epoch, mean and standard deviation over students. {results}")
    else:
        say(f"{results} already has all sets.")


def _table(rows: list[LedgerRow]) -> Table:
    made = table("set", "data", "IPC", "published", "here", "random", "herding")
    for row in rows:
        accuracies = (
            f"{100 * mean:.1f} ± {100 * std:.1f}"
            for mean, std in (
                (row.accuracy_mean, row.accuracy_std),
                (row.random_mean, row.random_std),
                (row.herding_mean, row.herding_std),
            )
        )
        published = "-" if row.published is None else f"{row.published:.1f}"
        made.add_row(row.name, row.dataset, str(row.ipc), published, *accuracies)
    return made
