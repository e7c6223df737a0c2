"""``ncfm distill``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ncfm._utils.distributed import Ranks
from ncfm._utils.files import best_effort
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
from ncfm.data.sources import short_name
from ncfm.distillation import Interrupted
from ncfm.workflows.distill import distill
from ncfm.workflows.report import REPORT_FILE, write_report
from ncfm.workflows.stages import PICTURE_FILE


def command(
    data: Data,
    ipc: Ipc,
    recipe: Recipe = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder; default runs/DATA-ipcN.")
    ] = None,
    extend: Annotated[
        Path | None,
        typer.Option("--extend", metavar="SET", help="Start from this set: with more images a class, or more classes."),
    ] = None,
    iterations: Annotated[int | None, typer.Option("--iterations", metavar="N", help="Outer iterations.")] = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the interrupted run in --out.")] = False,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Distil a data set into N synthetic images per class.

    Example: `ncfm distill digits --ipc 1`

    Teachers are trained first, once; later runs find them in the cache. The run folder gets the set
    (`synthetic/`), a picture (`images.png`), metrics, a film, a state to resume from, and a first report
    (`report.html`); `ncfm report` writes it again with accuracies and real images.
    """
    out = out or Path("runs") / f"{short_name(data)}-ipc{ipc}"
    settings = settings_of(
        set_,
        distill__iterations=iterations,
        distill__extend=None if extend is None else str(extend),
        machine__device=device,
    )
    with BarReporter(quiet) as reporter:
        try:
            result = distill(
                data,
                ipc=ipc,
                recipe=recipe,
                settings=settings,
                seed=seed,
                out=out,
                resume=resume,
                data_dir=data_dir,
                reporter=reporter,
            )
        except Interrupted as stop:
            raise Interrupted(f"{stop} Run the same command with --resume to go on.") from stop
    with best_effort():  # the set is there, whatever becomes of its report
        if Ranks.here().is_main:
            write_report(out, with_data=False)
    synthetic = result.synthetic
    if as_json:
        print_json(
            {
                "out": str(out),
                "classes": synthetic.num_classes,
                "ipc": synthetic.ipc,
                "decoded_ipc": synthetic.decoded_ipc,
                "iterations": result.iterations,
                "seconds": round(result.seconds, 3),
                "stopped_early": result.stopped_early,
            }
        )
        return
    console.print(
        f"Distilled {synthetic.num_classes} classes x {synthetic.ipc} images "
        f"({synthetic.decoded_ipc} a class after decoding) in {result.iterations} iterations, {result.seconds:.0f} s.",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"Look at {out / PICTURE_FILE} and {out / REPORT_FILE}; judge it with: ncfm evaluate {out}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
