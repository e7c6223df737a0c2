"""``ncfm report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ncfm.cli._common import AsJson, BarReporter, DataDir, Device, On, Quiet, Set, console, print_json, settings_of
from ncfm.workflows import report as reporting


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, finished or not, or a synthetic set.")],
    on: On = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="HTML", help="Default RUN/report.html.")] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="RUN", help="A judged run to stand beside. Repeatable."),
    ] = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Leave out what needs the real data.")] = False,
    device: Device = None,
    set_: Set = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Write a run's report: one HTML file with its images, curves, accuracies and nearest real images.

    Example: `ncfm report runs/digits-ipc1`

    The file needs nothing else: pictures are inside, and nothing is fetched when it is opened. Real images, the map of
    features and the look for copies need the data and a teacher, from the cache or trained now.
    """
    with BarReporter(quiet) as reporter:
        written = reporting.write_report(
            run,
            on,
            out=out,
            against=against or [],
            with_data=not no_data,
            settings=settings_of(set_),
            device=device,
            data_dir=data_dir,
            reporter=reporter,
        )
    size = written.path.stat().st_size
    if as_json:
        print_json({"out": str(written.path), "bytes": size, "missing": written.missing})
        return
    console.print(f"Report: {written.path} ({size / 1e6:.1f} MB)", highlight=False, soft_wrap=True, markup=False)
    for sentence in written.missing.values():
        console.print(f"Left out: {sentence}", highlight=False, markup=False)
