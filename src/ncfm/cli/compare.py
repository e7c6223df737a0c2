"""``ncfm compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ncfm
from ncfm.cli._comparison import print_comparison, text_table, write_files
from ncfm.cli._completion import tables
from ncfm.cli._options import Output, Problem, Results, Runs, Setup, flatten_options, split_names
from ncfm.cli._output import print_json

DEFAULT = "ncfm,random,herding,mosaic,full"

# The names are not imported: `--help` must not wait for PyTorch. A test compares them.
METHODS_HELP = (
    "Methods: ncfm, gaussian, mean, mse, mmd, dsdm, fisher, entropic, dm, mtt, datm, random, herding, kcenter, kmeans, "
    "mosaic, rded, rded-teacher, full; or MODULE:CALLABLE, an objective of your own. "
    f"Default {DEFAULT}, or none with --ablation."
)
ABLATION_HELP = (
    "Ablations: adversary, alpha, bandwidth, calibration, correction, discrepancy, factor, family, fast, frequencies, "
    "gap, minmax, normalisation, pool, ratio, switches, teachers, trial, weight; or paths ending in .toml."
)


@flatten_options
def command(
    problem: Problem,
    *,
    methods: Annotated[str | None, typer.Option("--methods", "-m", metavar="A,B", help=METHODS_HELP)] = None,
    ablation: Annotated[str | None, typer.Option("--ablation", metavar="A,B", help=ABLATION_HELP)] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Folder; default runs/compare-DATA-ipcN.")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="Sets per method; they share their teachers.")
    ] = 1,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes", metavar="M", min=0.001, help="Time budget per method, instead of an iteration count."
        ),
    ] = None,
    runs: Runs = None,
    setup: Setup,
    results: Results = None,
    table: Annotated[
        str | None,
        typer.Option(
            "--table",
            metavar="FORM",
            autocompletion=tables,
            help="Print the table as text to paste: latex (package booktabs) or markdown.",
            rich_help_panel="Output",
        ),
    ] = None,
    output: Output,
) -> None:
    """Compare methods at the same storage, with the same students and the same recipe.

    Example: `ncfm compare digits --ipc 1 --methods ncfm,random,herding`

    Example: `ncfm compare digits --ipc 1 --ablation alpha --seeds 3`

    Example: `ncfm compare digits --ipc 1 --table latex > table.tex`

    The same command resumes an interrupted comparison: it keeps the finished sets and scores in the folder. The folder
    contains one run folder per method, comparison.json, comparison.csv, a bar chart of the accuracies with their
    intervals (comparison.png), and their accuracy, time and memory side by side (costs.png).
    """
    _check_table(table, output)
    out = out or problem.folder("compare-")
    if methods is None:
        methods = "" if ablation else DEFAULT
    with output.progress() as reporter:
        scored = ncfm.compare(
            problem.data,
            ipc=problem.ipc,
            methods=split_names(methods),
            ablations=split_names(ablation),
            seeds=seeds,
            recipe=problem.recipe,
            out=out,
            results=results,
            reporter=reporter,
            **setup.arguments(evaluate__runs=runs, distill__seconds=None if minutes is None else 60 * minutes),
        )
    entries = write_files(scored, out, problem.title)
    if output.as_json:
        print_json([one.as_dict() for one in scored])
    elif table is not None:
        typer.echo(text_table(table, problem.title, entries))
    else:
        print_comparison(problem.title, entries, out)


def _check_table(table: str | None, output: Output) -> None:
    """Check the form of the table before hours of work."""
    if table is None:
        return
    from ncfm.results.text_tables import check_table

    check_table(table)
    if output.as_json:
        raise ncfm.InputError("--table and --json both print the results; leave out one of them.")
