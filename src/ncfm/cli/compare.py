"""``ncfm compare``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import Output, Problem, Results, Runs, Setup, flatten_options, split_names
from ncfm.cli._output import accuracy, console, print_json, say, table

if TYPE_CHECKING:
    from rich.table import Table

    from ncfm.workflows.compare import Entry, Scored

DEFAULT = "ncfm,random,herding,mosaic,full"
PLOT_FILE = "comparison.png"
LISTED = 8  # pictures of sets that are listed one by one

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
    output: Output,
) -> None:
    """Compare methods at the same storage, with the same students and the same recipe.

    Example: `ncfm compare digits --ipc 1 --methods ncfm,random,herding`

    Example: `ncfm compare digits --ipc 1 --ablation alpha --seeds 3`

    The same command resumes an interrupted comparison: it keeps the finished sets and scores in the folder. The folder
    contains one run folder per method, comparison.json, comparison.csv, and a plot of accuracy against time and memory.
    """
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
    entries = _write(scored, out, problem.title)
    if output.as_json:
        print_json([one.as_dict() for one in scored])
        return
    console.print(_table(problem.title, entries))
    pictures = _pictures(out)
    if pictures:
        say(f"Pictures: {', '.join(pictures)}", wrap=False)


def _write(scored: list[Scored], out: Path, title: str) -> list[Entry]:
    """Write the files of a comparison; return its results by method."""
    from ncfm._utils.files import write_json
    from ncfm.results.plots import plot_costs
    from ncfm.workflows.compare import cost_points, entries, write_csv

    write_json(out / "comparison.json", [one.as_dict() for one in scored])
    write_csv(out / "comparison.csv", scored)
    found = entries(scored)
    points = cost_points(found)
    if points:
        plot_costs(points, out / PLOT_FILE, title)
    return found


def _pictures(out: Path) -> list[str]:
    """The plot and the pictures of the sets, as a pattern if there are many."""
    from ncfm.workflows.stages import PICTURE_FILE

    plot = [str(out / PLOT_FILE)] if (out / PLOT_FILE).is_file() else []
    of_sets = [place / PICTURE_FILE for place in sorted(out.iterdir()) if (place / PICTURE_FILE).is_file()]
    return plot + ([str(picture) for picture in of_sets] if len(of_sets) <= LISTED else [f"{out}/*/{PICTURE_FILE}"])


def _table(title: str, entries: list[Entry]) -> Table:
    from ncfm.results.formatting import interval_of

    seeds = max(len(entry.scored) for entry in entries)
    over = counted(seeds, "seed") if seeds > 1 else "students"
    made = table(
        "method",
        *("accuracy %", "95 % interval", "stored\nper class", "distil\ns", "iter.\ns", "MiB"),
        title=title,
        caption=f"Accuracy after the last epoch on the real test split; same recipe for all; intervals over {over}.",
        fold=True,
    )
    for entry in entries:
        first, spread = entry.first, entry.interval
        variant = ", ".join(part for part in first.variant.split(",") if "=" not in part)  # settings hold for all rows
        name = first.name if ": " in first.name else first.method + (f" ({variant})" if variant else "")
        made.add_row(
            name + (" (teacher)" if "teacher" in first.evaluation.protocol else ""),
            accuracy(spread),
            interval_of(spread.low, spread.high),
            f"{first.storage:.4g}",
            _or_dash(entry.median("distill_seconds"), ".0f"),
            _or_dash(entry.median("seconds_per_iteration"), ".3g"),
            _or_dash(entry.median("distill_memory_mb"), ".0f"),
        )
    return made


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
