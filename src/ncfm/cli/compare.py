"""``ncfm compare``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ncfm import comparison
from ncfm._files import write_json
from ncfm.cli._common import (
    AsJson,
    BarReporter,
    Data,
    DataDir,
    Device,
    Ipc,
    Quiet,
    Recipe,
    Seed,
    Set,
    console,
    print_json,
    settings_of,
)
from ncfm.runs import PICTURE_FILE, scores


def command(
    data: Data,
    ipc: Ipc,
    methods: Annotated[
        str, typer.Option("--methods", "-m", metavar="A,B", help=f"Of {', '.join(comparison.METHODS)}.")
    ] = "ncfm,random,herding,mosaic,full",
    recipe: Recipe = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder; default runs/compare-DATA-ipcN."),
    ] = None,
    runs: Annotated[int | None, typer.Option("--runs", metavar="N", help="Students of each method.")] = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    results: Annotated[
        Path | None,
        typer.Option("--results", metavar="CSV", help="Append a row for every method to this file."),
    ] = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Put methods side by side: same storage, same students, same recipe.

    Example: `ncfm compare digits --ipc 1 --methods ncfm,random,herding`

    Called again, it goes on where it was: finished sets and scores in the folder are taken as they are.
    """
    out = out or Path("runs") / f"compare-{Path(data.removeprefix('hf:')).stem}-ipc{ipc}"
    with BarReporter(quiet) as reporter:
        scored = comparison.compare(
            data,
            ipc=ipc,
            methods=[m.strip() for m in methods.split(",")],
            recipe=recipe,
            settings=settings_of(set_, evaluate__runs=runs, machine__device=device),
            seed=seed,
            out=out,
            data_dir=data_dir,
            results=results,
            reporter=reporter,
        )
    rows = [{k: v for k, v in asdict(s).items() if k != "evaluation"} | scores(s.evaluation) for s in scored]
    write_json(out / "comparison.json", rows)
    if as_json:
        print_json(rows)
        return
    console.print(_table(f"{data}, {ipc} image{'s' * (ipc > 1)} per class", scored))
    pictures = [str(out / s.name / PICTURE_FILE) for s in scored if s.name in comparison.DISTILLED]
    if pictures:
        console.print(f"Pictures: {', '.join(pictures)}", highlight=False, soft_wrap=True, markup=False)


def _table(title: str, scored: list[comparison.Scored]) -> Table:
    # Without lines between the columns the table fits into 80 characters.
    table = Table(
        title=title,
        caption="Accuracy after the last epoch on the real test split; same recipe for all.",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
    )
    table.add_column("method", no_wrap=True)
    for heading in ("accuracy %", "95 % interval", "stored\na class", "training\nimages", "seconds\nto distil"):
        table.add_column(heading, justify="right", no_wrap=True)
    for s in scored:
        spread = s.evaluation.interval
        one = len(s.evaluation.accuracies) == 1
        variant = ", ".join(part for part in s.variant.split(",") if "=" not in part)  # settings hold for all rows
        table.add_row(
            s.method + (f" ({variant})" if variant else ""),
            f"{100 * spread.mean:.1f} ± {100 * spread.std:.1f}",
            "-" if one else f"{100 * spread.low:.1f} to {100 * spread.high:.1f}",
            f"{s.storage:.4g}",
            str(s.evaluation.num_images),
            "-" if s.distill_seconds is None else f"{s.distill_seconds:.0f}",
        )
    return table
