"""``ncfm reproduce``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._options import Output, ResultsFile, Runs, Setup, flatten_options
from ncfm.cli._output import print_json, say, show, table

if TYPE_CHECKING:
    from ncfm.workflows.rows import Row

RESULTS = Path("results/accuracy.csv")


@flatten_options
def command(
    row: Annotated[
        str | None, typer.Argument(metavar="ROW", help="Row name, such as cifar10-ipc10; --list shows all.")
    ] = None,
    *,
    list_: Annotated[
        bool, typer.Option("--list", help="List all rows, with our accuracy next to the paper's.")
    ] = False,
    budget: Annotated[
        float | None,
        typer.Option("--budget", metavar="MINUTES", min=0.001, help="Stop after this time; run again to resume."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="DIR", help="Run folder; default runs/reproduce/ROW.")
    ] = None,
    runs: Runs = None,
    setup: Setup,
    energy: Annotated[
        bool, typer.Option("--energy", help="Measure the energy that the machine uses (RAPL, NVML).")
    ] = False,
    results: ResultsFile = RESULTS,
    output: Output,
) -> None:
    """Reproduce a row of the results table: distil, evaluate, compare with the paper and with the committed row.

    Example: `ncfm reproduce cifar10-ipc10`

    Example: `until ncfm reproduce cifar10-ipc10-paper --budget 60; do [ $? = 75 ] || break; done`

    Finished work is kept: teachers and students in the cache, the set in --out. With --budget the command stops after
    that many minutes with exit code 75. The same command then resumes at the epoch or iteration that it had reached.
    """
    if list_:
        _list(output.as_json)
        return
    if row is None:
        raise ncfm.InputError("Expected the name of a row, such as cifar10-ipc10; ncfm reproduce --list shows all.")
    with output.progress() as reporter:
        found = ncfm.reproduce(
            row,
            out=out,
            minutes=budget,
            results=results,
            energy=energy,
            reporter=reporter,
            **setup.arguments(evaluate__runs=runs),
        )
    if output.as_json:
        print_json(_as_dict(found))
        return
    for line in [*_sentences(found), *([_energy_used(found)] if energy else [])]:
        say(line, wrap=False)
    say(f"Appended the row to {results}.", wrap=False)


def _energy_used(found: ncfm.Reproduction) -> str:
    used = found.new.energy_wh
    if used is None:
        return "Energy: not known; the machine has no readable counter, or an earlier piece was not measured."
    return f"Energy: {used:.3g} Wh of the whole machine."


def _list(as_json: bool) -> None:
    from ncfm.workflows.rows import committed_row, rows

    known = [(row, committed_row(row.name)) for row in rows()]
    if as_json:
        print_json(
            [
                {"row": row.name, "paper": row.paper, "committed": before, "header": dict(row.header)}
                for row, before in known
            ]
        )
        return
    made = table("row", "paper %", "ours %", "time")
    made.add_column("evaluated by", overflow="fold")
    for row, before in known:
        made.add_row(row.name, "-" if row.paper is None else f"{row.paper:.1f}", *_ours(row, before))
    show(made)
    say(
        "The paper reports the best of many test evaluations. Ours are the accuracies after the last epoch, mean and "
        "standard deviation over students. Times are those of teachers, distillation and all students on one or two "
        "CPU cores, see docs/how-to/reproduce.md; those with ~ are predicted. `ncfm plan` predicts the time on this "
        "machine."
    )


def _ours(row: Row, before: Mapping[str, str] | None) -> tuple[str, str, str]:
    """Accuracy, time and protocol of a committed row, or the predicted time."""
    from ncfm.results.formatting import duration, of_row, part_of

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


def _sentences(found: ncfm.Reproduction) -> list[str]:
    """The new row next to the paper's number and the committed row."""
    from ncfm.results.formatting import interval_of, mean_of, of_row

    new, before, difference = found.new, found.committed, found.difference
    accuracy = mean_of(new.accuracy_mean, new.accuracy_std, new.accuracy_low)
    ends = f" (95 % interval {interval_of(new.accuracy_low, new.accuracy_high)})" * (new.num_runs > 1)
    lines = [f"{found.row.name}: {accuracy} %{ends}; {counted(new.num_runs, 'student')}, protocol {new.protocol}."]
    if found.paper is not None:
        points = 100 * new.accuracy_mean - found.paper
        lines.append(
            f"Paper: {found.paper:.1f} %, the best of many test evaluations; the difference is {points:+.1f} points."
        )
    if before is None:
        lines.append("Committed: no row to compare with yet.")
    elif difference is None:
        lines.append(
            f"Committed: {of_row(before)[0]} % by {before['protocol']}; not tested, see docs/how-to/reproduce.md."
        )
    else:
        within = "within" if difference.low <= 0 <= difference.high else "NOT within"
        lines.append(
            f"Committed: {of_row(before)[0]} %; the difference is {100 * difference.difference:+.1f} points, 95 % "
            f"interval {100 * difference.low:+.1f} to {100 * difference.high:+.1f}: {within} the variation of students."
        )
    return lines


def _as_dict(found: ncfm.Reproduction) -> dict[str, object]:
    return {
        "row": found.row.name,
        "made": asdict(found.new),
        "paper": found.paper,
        "committed": None if found.committed is None else dict(found.committed),
        "against_committed": None if found.difference is None else found.difference._asdict(),
    }
