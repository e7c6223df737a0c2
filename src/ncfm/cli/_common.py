"""What the commands share: options, progress, output."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from ncfm.config.build import build_machine
from ncfm.config.resolve import judged_on
from ncfm.config.schema import make_config, nest, parse_setting
from ncfm.results.files import Conditions
from ncfm.synthetic.synthetic_set import SyntheticSet

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="digits, fashion-mnist, cifar10, cifar100, tiny-imagenet, imagenette, ..., hf:owner/name, or a path: "
        "parquet file or folder, IDX folder, image folder; module:callable for your own code.",
    ),
]
Ipc = Annotated[int, typer.Option("--ipc", metavar="N", help="Images per class in storage (IPC).")]
Recipe = Annotated[
    str | None,
    typer.Option("--recipe", "-r", metavar="R", help="Name or .toml; default DATA-ipcN if there is one; none."),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; `ncfm recipes keys` lists all. Repeatable."),
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="S", help="Of everything random.")]
Device = Annotated[str | None, typer.Option("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps.")]
DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        envvar="NCFM_DATA",
        metavar="DIR",
        help="Folder looked at before the network: DIR/cifar10/*.parquet.",
    ),
]
OwnSet = Annotated[str, typer.Argument(metavar="SET", help="A synthetic set or the run folder that holds it.")]
On = Annotated[str | None, typer.Option("--on", metavar="DATA", help="Real data; default: what the set was made from.")]
Runs = Annotated[int | None, typer.Option("--runs", metavar="N", help="Students of each set and network.")]
Epochs = Annotated[int | None, typer.Option("--epochs", metavar="N", help="Epochs of a student.")]
FullEpochs = Annotated[int, typer.Option("--full-epochs", metavar="N", help="Epochs on the full training split.")]
Results = Annotated[Path | None, typer.Option("--results", metavar="CSV", help="Append rows to this file.")]
Plot = Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw a picture into this file.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Train all students, also those remembered from before.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, for programs.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]

console = Console()
errors = Console(stderr=True)


def settings_of(pairs: Sequence[str] | None, **options: Any) -> dict[str, Any]:
    """Dotted settings of the command line: ``--set`` pairs, and options that are short for a setting.

    Option names are written with ``__`` for the dot; those that were not given (None) are left out.
    """
    settings = dict(parse_setting(pair) for pair in pairs or [])
    given = {key.replace("__", "."): value for key, value in options.items() if value is not None}
    return settings | given


def row_facts(synthetic: SyntheticSet, on: str | None, settings: Mapping[str, Any], seed: int | None) -> dict[str, Any]:
    """What every results row about a set says of the set and of the conditions."""
    facts = synthetic.facts
    config = make_config(facts.get("config", {}), nest(settings), {} if seed is None else {"seed": seed})
    conditions = asdict(Conditions.here(build_machine(config.machine, synthetic.images.shape[-1]).device))
    del conditions["peak_memory_mb"]
    return conditions | {
        "dataset": judged_on(on or facts.get("data", "unknown"), config),
        "ipc": synthetic.ipc,
        "method": facts.get("method", "unknown"),
        "variant": facts.get("variant", ""),
        "seed": config.seed,
    }


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output, unless another rank does."""
    if console.quiet:
        return
    typer.echo(json.dumps(value, indent=2))


LINE_SECONDS = 60.0  # between two lines of a stage where there is no terminal


class BarReporter:
    """Progress bars with an estimate of the time left; few plain lines where there is no terminal.

    Without a terminal a stage has a line when it begins, one a minute at most while it lasts, and one when it ends:
    nothing that moves the cursor, so that a log stays readable.
    """

    def __init__(self, quiet: bool = False) -> None:
        quiet = self.quiet = quiet or console.quiet  # of several ranks one speaks
        self._bars = Progress(
            TextColumn("[bold]{task.description:<20}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=errors,
            disable=quiet or not errors.is_terminal,
        )
        self._in_lines = not quiet and not errors.is_terminal
        self._stage, self._total, self._note = "", 0, ""
        self._began = self._spoke = time.monotonic()
        self._task = None if quiet else self._bars.add_task("", note="", visible=False)

    def __enter__(self) -> BarReporter:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, stage: str, total: int) -> None:
        """Start a bar."""
        self._stage, self._total, self._note = stage, total, ""
        self._began = self._spoke = time.monotonic()
        if self.quiet:
            return
        self._task = self._bars.add_task(stage, total=total, note="")
        if self._in_lines:
            self._say(f"{stage}: {total} steps")

    def update(self, done: int, note: str = "") -> None:
        """Move the bar."""
        self._note = note
        if self._task is not None:
            self._bars.update(self._task, completed=done, note=note)
        if self._in_lines and done < self._total and time.monotonic() - self._spoke >= LINE_SECONDS:
            self._spoke = time.monotonic()
            left = (self._spoke - self._began) * (self._total - done) / max(done, 1)
            self._say(f"{self._stage}: {done} of {self._total}, {_clock(left)} left", note)

    def end(self) -> None:
        """Fill the bar."""
        if self._task is not None:
            self._bars.update(self._task, completed=self._total)
        if self._in_lines:
            self._say(f"{self._stage}: done in {_clock(time.monotonic() - self._began)}", self._note)

    def _say(self, line: str, note: str = "") -> None:
        errors.print(f"{line}, {note}" if note else line, highlight=False, markup=False, soft_wrap=True)


def _clock(seconds: float) -> str:
    """Hours, minutes and seconds: ``1:02:03``."""
    return str(timedelta(seconds=round(seconds)))
