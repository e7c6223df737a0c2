"""``ncfm distill``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import Output, Problem, Setup, flatten_options
from ncfm.cli._output import console, print_json, say


@flatten_options
def command(
    problem: Problem,
    *,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder; default runs/DATA-ipcN.")
    ] = None,
    extend: Annotated[
        Path | None,
        typer.Option(
            "--extend",
            metavar="SET",
            help="Start from this set, also an external one, to add images per class or classes.",
        ),
    ] = None,
    normalized_by: Annotated[
        str | None,
        typer.Option("--normalized-by", metavar="N", help="How the floats of an external set were normalised."),
    ] = None,
    iterations: Annotated[int | None, typer.Option("--iterations", metavar="N", help="Outer iterations.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run in --out, also with more --iterations.")
    ] = False,
    setup: Setup,
    output: Output,
) -> None:
    """Distil a dataset into N synthetic images per class.

    Example: `ncfm distill digits --ipc 1`

    The teachers are trained first; later runs load them from the cache. The run folder contains the set (`synthetic/`),
    a picture of it (`images.png`), metrics, snapshots, a checkpoint to resume from, and a report (`report.html`).
    `ncfm report` writes the report again, with accuracies and real images.
    """
    out = out or problem.folder()
    options = setup.arguments(
        distill__iterations=iterations,
        distill__extend=None if extend is None else str(extend),
        distill__extend_normalized_by=normalized_by,
    )
    with output.progress() as reporter:
        try:
            result = ncfm.distill(
                problem.data,
                ipc=problem.ipc,
                recipe=problem.recipe,
                out=out,
                resume=resume,
                reporter=reporter,
                **options,
            )
        except ncfm.Interrupted as stop:
            raise ncfm.Interrupted(f"{stop} Run the same command with --resume to continue.") from stop
    _write_first_report(out)
    if output.as_json:
        print_json(_as_dict(result, out))
    else:
        _print(result, out)


def _write_first_report(out: Path) -> None:
    """Write a report without the real data. The set is finished, so a failure here is not one of the command."""
    from ncfm._utils.distributed import Ranks
    from ncfm._utils.files import best_effort

    with best_effort():
        if Ranks.here().is_main:
            ncfm.write_report(out, with_data=False)


def _as_dict(result: ncfm.DistillResult, out: Path) -> dict[str, object]:
    synthetic = result.synthetic
    return {
        "out": str(out),
        "classes": result.synthetic.num_classes,
        "ipc": list(synthetic.counts) if synthetic.counts else synthetic.ipc,
        "decoded_ipc": list(synthetic.decoded_counts) if synthetic.counts else synthetic.decoded_ipc,
        "iterations": result.iterations,
        "seconds": round(result.seconds, 3),
        "teacher_accuracies": synthetic.facts.get("teacher_accuracies", []),
        "stopped_early": result.stopped_early,
    }


def _print(result: ncfm.DistillResult, out: Path) -> None:
    from ncfm.synthetic.counts import in_short
    from ncfm.training.teacher_accuracy import teachers_in_words
    from ncfm.workflows.distilling import PICTURE_FILE
    from ncfm.workflows.report import REPORT_FILE

    synthetic = result.synthetic
    teachers = teachers_in_words(synthetic.facts.get("teacher_accuracies", []))
    if teachers:
        say(f"Features of {teachers}.")
    stored = counted(synthetic.ipc, "image") if synthetic.counts is None else f"{in_short(synthetic.counts)} images"
    say(
        f"Distilled {counted(synthetic.num_classes, 'class')} x {stored} ({in_short(synthetic.decoded_counts)} per "
        f"class after decoding) in {counted(result.iterations, 'iteration')}, {result.seconds:.0f} s.",
        wrap=console.is_terminal,  # one line of a log
    )
    say(f"Images: {out / PICTURE_FILE}", wrap=False)
    say(f"Report: {out / REPORT_FILE}", wrap=False)
    say(f"Evaluate it with: ncfm evaluate {out}", wrap=False)
