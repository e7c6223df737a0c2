"""``ncfm reproduce``."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from ncfm._utils.checks import NcfmError
from ncfm.cli._common import (
    AsJson,
    BarReporter,
    DataDir,
    Device,
    Quiet,
    Runs,
    Seed,
    Set,
    console,
    print_json,
    settings_of,
)
from ncfm.results.files import append_rows
from ncfm.results.formatting import duration, interval_of, mean_of, of_row, part_of
from ncfm.synthetic.synthetic_set import SCORES_FILE, add_scores
from ncfm.workflows.reproduce import Reproduction, Row, committed_row, find_row, reproduce, rows
from ncfm.workflows.stages import scores


def command(
    row: Annotated[str | None, typer.Argument(metavar="ROW", help="Such as cifar10-ipc10; --list tells all.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show every row, ours beside the paper's.")] = False,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="MINUTES", min=0.001, help="Stop after so long; the same command goes on."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder; default runs/reproduce/ROW.")
    ] = None,
    results: Annotated[Path, typer.Option("--results", metavar="CSV", help="Append the row to this file.")] = Path(
        "results/accuracy.csv"
    ),
    runs: Runs = None,
    device: Device = None,
    seed: Seed = None,
    set_: Set = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Make a row of the results table anew: find the data, distil, judge, compare with the paper and with ours.

    Example: `ncfm reproduce cifar10-ipc10`

    Example: `until ncfm reproduce cifar10-ipc10-paper --budget 60; do [ $? = 75 ] || break; done`

    What is finished is kept: teachers and students in the cache, the set in --out. With --budget the command ends after
    so many minutes with exit code 75, and the same command goes on with the epoch or iteration it had reached.
    """
    if list_:
        _list(as_json)
        return
    if row is None:
        raise NcfmError("Expected the name of a row, such as cifar10-ipc10; ncfm reproduce --list shows all.")
    found = find_row(row)
    out = out or Path("runs") / "reproduce" / found.name
    with BarReporter(quiet) as reporter:
        reproduction = reproduce(
            found,
            out=out,
            minutes=budget,
            settings=settings_of(set_, evaluate__runs=runs, machine__device=device),
            seed=seed,
            data_dir=data_dir,
            reporter=reporter,
        )
    append_rows(results, [reproduction.made])
    add_scores(out / SCORES_FILE, [scores(reproduction.evaluation)])
    if as_json:
        print_json(_as_dict(reproduction))
        return
    for line in _in_words(reproduction):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"Wrote the row to {results}.", highlight=False, markup=False, soft_wrap=True)


def _list(as_json: bool) -> None:
    known = [(row, committed_row(row.name)) for row in rows()]
    if as_json:
        print_json(
            [
                {"row": row.name, "paper": row.paper, "committed": before, "header": dict(row.header)}
                for row, before in known
            ]
        )
        return
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for heading, side in (
        ("row", "left"),
        ("paper %", "right"),
        ("ours %", "right"),
        ("time", "right"),
        ("judged by", "left"),
    ):
        table.add_column(heading, justify=side, no_wrap=heading != "judged by", overflow="fold")  # type: ignore[arg-type]
    for row, before in known:
        table.add_row(row.name, "-" if row.paper is None else f"{row.paper:.1f}", *_ours(row, before))
    console.print(table, highlight=False)
    console.print(
        "The paper's are the best of many looks at the test split; ours are after the last epoch, mean and deviation "
        "over students. Time: of teachers, distilling and all students on one or two CPU cores, see "
        "docs/how-to/reproduce.md; of rows that have not been run it is predicted (~). `ncfm plan` predicts it for "
        "this machine.",
        highlight=False,
    )


def _ours(row: Row, before: dict[str, str] | None) -> tuple[str, str, str]:
    if before is None:
        predicted = re.match(r"about (.+?) on ", row.header.get("Time", ""))
        return "-", f"~ {predicted[1]}" if predicted else "-", ""
    part = part_of(before["row"], before)
    seconds = sum(float(before[key]) for key in ("teacher_seconds", "distill_seconds", "evaluate_seconds"))
    return (
        of_row(before)[0],
        duration(seconds),
        f"{before['num_runs']} x {before['protocol']}" + f", {part} images" * (part != "all"),
    )


def _in_words(reproduction: Reproduction) -> list[str]:
    made, before, against = reproduction.made, reproduction.committed, reproduction.against_committed
    mean = 100 * made.accuracy_mean
    told = mean_of(made.accuracy_mean, made.accuracy_std, made.accuracy_low)
    ends = f" (95 % interval {interval_of(made.accuracy_low, made.accuracy_high)})" * (made.num_runs > 1)
    students = f"{made.num_runs} student{'s' * (made.num_runs > 1)} by {made.protocol}"
    lines = [f"{reproduction.row.name}: {told} %{ends}; {students}."]
    if reproduction.paper is not None:
        lines.append(
            f"The paper: {reproduction.paper:.1f} %, the best of many looks; this is {mean - reproduction.paper:+.1f} "
            "points from it."
        )
    if before is None:
        lines.append("There is no committed row to compare with yet.")
    elif against is None:
        no_test = "no test, see docs/how-to/reproduce.md"
        lines.append(f"Committed: {of_row(before)[0]} % by {before['protocol']}; {no_test}.")
    else:
        within = "within" if against.low <= 0 <= against.high else "NOT within"
        lines.append(
            f"Committed: {of_row(before)[0]} %; this is {100 * against.difference:+.1f} points from it, 95 % interval "
            f"{100 * against.low:+.1f} to {100 * against.high:+.1f}: {within} what students vary by."
        )
    return lines


def _as_dict(reproduction: Reproduction) -> dict[str, object]:
    against = reproduction.against_committed
    return {
        "row": reproduction.row.name,
        "made": asdict(reproduction.made),
        "paper": reproduction.paper,
        "committed": None if reproduction.committed is None else dict(reproduction.committed),
        "against_committed": None if against is None else against._asdict(),
    }
