"""``ncfm compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ncfm._utils.files import write_json
from ncfm.cli._common import (
    AsJson,
    BarReporter,
    Data,
    DataDir,
    Device,
    Ipc,
    Quiet,
    Recipe,
    Results,
    Runs,
    Seed,
    Set,
    console,
    print_json,
    settings_of,
)
from ncfm.config.methods import METHODS, ablation_names
from ncfm.data.sources import short_name
from ncfm.results.formatting import interval_of, mean_of
from ncfm.results.plots import plot_costs
from ncfm.workflows import compare as comparison
from ncfm.workflows.stages import PICTURE_FILE

DEFAULT = "ncfm,random,herding,mosaic,full"
PLOT_FILE = "comparison.png"
LISTED = 8  # pictures of sets that are named one by one


def command(
    data: Data,
    ipc: Ipc,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            "-m",
            metavar="A,B",
            help=f"Of {', '.join(METHODS)}; or module:callable, an objective of your own. Default {DEFAULT}, "
            "or none with --ablation.",
        ),
    ] = None,
    ablation: Annotated[
        str | None,
        typer.Option("--ablation", metavar="A,B", help=f"Of {', '.join(ablation_names())}; or a path ending in .toml."),
    ] = None,
    recipe: Recipe = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder; default runs/compare-DATA-ipcN."),
    ] = None,
    runs: Runs = None,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, help="Sets of each method; teachers are the same.")
    ] = 1,
    minutes: Annotated[
        float | None,
        typer.Option("--minutes", metavar="M", min=0.001, help="Distil each for so long, not for its iterations."),
    ] = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    results: Results = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put methods side by side: same storage, same students, same recipe.

    Example: `ncfm compare digits --ipc 1 --methods ncfm,random,herding`

    Example: `ncfm compare digits --ipc 1 --ablation alpha --seeds 3`

    Called again, it goes on where it was: finished sets and scores in the folder are taken as they are. Beside the runs
    the folder has comparison.json, comparison.csv and a plot of accuracy against time and memory.
    """
    out = out or Path("runs") / f"compare-{short_name(data)}-ipc{ipc}"
    if methods is None:
        methods = "" if ablation else DEFAULT
    with BarReporter(quiet) as reporter:
        scored = comparison.compare(
            data,
            ipc=ipc,
            methods=_names(methods),
            ablations=_names(ablation or ""),
            seeds=seeds,
            seconds=None if minutes is None else 60 * minutes,
            recipe=recipe,
            settings=settings_of(set_, evaluate__runs=runs, machine__device=device),
            seed=seed,
            out=out,
            data_dir=data_dir,
            results=results,
            reporter=reporter,
        )
    rows = [one.as_dict() for one in scored]
    write_json(out / "comparison.json", rows)
    comparison.write_csv(out / "comparison.csv", scored)
    entries = comparison.entries(scored)
    title = f"{data}, {ipc} image{'s' * (ipc > 1)} per class"
    points = comparison.cost_points(entries)
    if points:
        plot_costs(points, out / PLOT_FILE, title)
    if as_json:
        print_json(rows)
        return
    console.print(_table(title, entries))
    pictures = _pictures(out)
    if pictures:
        console.print(f"Pictures: {', '.join(pictures)}", highlight=False, soft_wrap=True, markup=False)


def _pictures(out: Path) -> list[str]:
    """What there is to look at in a comparison's folder: its plot, and the sets, by a pattern if they are many."""
    plot = [str(out / PLOT_FILE)] if (out / PLOT_FILE).is_file() else []
    of_sets = [place / PICTURE_FILE for place in sorted(out.iterdir()) if (place / PICTURE_FILE).is_file()]
    return plot + ([str(picture) for picture in of_sets] if len(of_sets) <= LISTED else [f"{out}/*/{PICTURE_FILE}"])


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _table(title: str, entries: list[comparison.Entry]) -> Table:
    # Without lines between the columns the table fits into 80 characters.
    seeds = max(len(entry.scored) for entry in entries)
    over = f"{seeds} seeds" if seeds > 1 else "students"
    table = Table(
        title=title,
        caption=f"Accuracy after the last epoch on the real test split; same recipe for all; intervals over {over}.",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("method", overflow="fold")
    headings = ("accuracy %", "95 % interval", "stored\na class", "distil\ns", "iter.\ns", "MiB")
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    for entry in entries:
        first, spread = entry.first, entry.interval
        variant = ", ".join(part for part in first.variant.split(",") if "=" not in part)  # settings hold for all rows
        name = first.name if ": " in first.name else first.method + (f" ({variant})" if variant else "")
        asked = " (teacher)" if "teacher" in first.evaluation.protocol else ""
        table.add_row(
            name + asked,
            mean_of(spread.mean, spread.std, spread.low),
            interval_of(spread.low, spread.high),
            f"{first.storage:.4g}",
            _or_dash(entry.median("distill_seconds"), ".0f"),
            _or_dash(entry.median("seconds_per_iteration"), ".3g"),
            _or_dash(entry.median("distill_memory_mb"), ".0f"),
        )
    return table


def _or_dash(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
