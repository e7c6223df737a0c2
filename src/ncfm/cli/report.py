"""``ncfm report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ncfm
from ncfm.cli._options import ChangedData, DataDir, Device, On, Output, Set, flatten_options, settings_of
from ncfm.cli._output import print_json, say


@flatten_options
def command(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="A run folder, finished or interrupted, or a distilled set.")
    ],
    *,
    on: On = None,
    changed_data: ChangedData = False,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="HTML", help="File to write; default RUN/report.html.")
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option("--against", metavar="RUN", help="Another evaluated run to compare with. Repeatable."),
    ] = None,
    no_data: Annotated[bool, typer.Option("--no-data", help="Leave out what needs the real data.")] = False,
    device: Device = None,
    set_: Set = None,
    data_dir: DataDir = None,
    output: Output,
) -> None:
    """Write the report of a run: one HTML file with its images, curves, accuracies and nearest real images.

    Example: `ncfm report runs/digits-ipc1`

    The file is self-contained: pictures are embedded, and opening it loads nothing from the network. Real images, the
    feature map and copy detection need the data and one teacher, from the cache or trained now.
    """
    with output.progress() as reporter:
        written = ncfm.write_report(
            run,
            on,
            out=out,
            against=against or [],
            with_data=not no_data,
            changed_data=changed_data,
            device=device,
            settings=settings_of(set_),
            data_dir=data_dir,
            reporter=reporter,
        )
    size = written.path.stat().st_size
    if output.as_json:
        print_json({"out": str(written.path), "bytes": size, "missing": written.missing})
        return
    say(f"Report: {written.path} ({size / 1e6:.1f} MB)", wrap=False)
    for reason in written.missing.values():
        say(f"Left out: {reason}")
