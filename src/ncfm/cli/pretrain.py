"""``ncfm pretrain``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._completion import recipes
from ncfm.cli._options import Data, Output, Setup, flatten_options
from ncfm.cli._output import print_json, say


@flatten_options
def command(
    data: Data,
    *,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            "-r",
            metavar="R",
            autocompletion=recipes,
            help="Recipe name or .toml file; default: as for distill.",
        ),
    ] = None,
    number: Annotated[int | None, typer.Option("--number", "-n", metavar="N", help="Number of teachers.")] = None,
    epochs: Annotated[int | None, typer.Option("--epochs", metavar="N", help="Training epochs per teacher.")] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Also write them to this new folder, for teachers.pool=DIR."),
    ] = None,
    setup: Setup,
    output: Output,
) -> None:
    """Train the teachers ahead of time; `distill` loads them from the cache.

    Example: `ncfm pretrain digits --number 3`
    """
    from ncfm.training.teacher_accuracy import teachers_in_words

    options = setup.arguments(teachers__number=number, teachers__epochs=epochs)
    with output.progress() as reporter:
        pool = ncfm.pretrain(data, recipe=recipe, out=out, reporter=reporter, **options)
    found = {"teachers": len(pool), "seconds": round(pool.seconds, 3), "accuracies": list(pool.accuracies)}
    if output.as_json:
        print_json(found | ({} if out is None else _written(out)))
        return
    said = teachers_in_words(pool.accuracies) or counted(len(pool), "teacher")  # no accuracy without a test split
    say(f"{said}; trained in {pool.seconds:.0f} s in total.")
    if out is not None:
        say(f"Wrote {out} ({_written(out)['bytes'] / 1e6:.1f} MB).", wrap=False)
        say(f"Distil with them: --set teachers.pool={out}", wrap=False)


def _written(out: Path) -> dict[str, Any]:
    return {"out": str(out), "bytes": sum(file.stat().st_size for file in out.iterdir())}
