"""``ncfm diagnose``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from ncfm._utils.checks import NcfmError
from ncfm.cli._common import AsJson, console, print_json
from ncfm.distillation.history import DIAGNOSIS_FILE, read_lines
from ncfm.results.plots import plot_diagnosis
from ncfm.synthetic.storage import load

# Of a diagnosis: field, factor, digits; each learned beside fixed.
QUANTITIES = (("discrepancy", 1, 4), ("amplitude_share", 100, 0), ("modulus", 1, 2), ("excess", 1, 2))
PAIRS = ("NCFD\npsi", "\nfixed", "amp. %\npsi", "\nfixed", "|Phi_x|\npsi", "\nfixed", "excess\npsi", "\nfixed")


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, distilled with machine.diagnose_every.")],
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw a picture into this file.")] = None,
    classes: Annotated[bool, typer.Option("--classes", help="The last look class by class.")] = False,
    as_json: AsJson = False,
) -> None:
    """Where the adversary looked during a run, beside fixed frequencies of the same number and scale.

    Example: `ncfm diagnose runs/digits-ipc1 --plot looks.png`

    The run must have been told to look: `--set machine.diagnose_every=50`. Excess is the squared distance of the
    characteristic functions over what two samples of one law would show: where it is 1 there is nothing to see.
    """
    run = run.expanduser()
    entries = read_lines(run / DIAGNOSIS_FILE)
    if not entries:
        raise NcfmError(
            f"{run} has no {DIAGNOSIS_FILE}; distil with --set machine.diagnose_every=50, and with frequencies."
        )
    names = _class_names(run, len(entries[-1]["learned.discrepancy"]))
    if plot is not None:
        plot_diagnosis(entries, plot, f"{run.name}: where the adversary looks", names)
    if as_json:
        print_json(entries)
        return
    console.print(_by_class(entries[-1], names) if classes else _by_iteration(entries))
    if plot is not None:
        console.print(f"Picture: {plot}", highlight=False, soft_wrap=True, markup=False)


def _by_iteration(entries: Sequence[Mapping[str, Any]]) -> Table:
    """At most ten looks, means over the classes."""
    table = _table("Means over the classes; psi: the learned frequencies.", "iter.", *PAIRS, "bandwidth\n5-95 %")
    shown = sorted({round(i * (len(entries) - 1) / 9) for i in range(10)})
    for entry in (entries[i] for i in shown):
        low, *_, high = entry["learned.bandwidths"]
        table.add_row(str(entry["iteration"]), *_cells(entry, fmean), f"{low:.2f}-{high:.2f}")
    return table


def _by_class(entry: Mapping[str, Any], names: Sequence[str]) -> Table:
    """One look, a row for each class."""
    table = _table(f"After iteration {entry['iteration']}; psi: the learned frequencies.", "class", *PAIRS)
    for i, name in enumerate(names):
        table.add_row(escape(name), *_cells(entry, itemgetter(i)))
    return table


def _table(caption: str, first: str, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False, caption=caption)
    table.add_column(first, overflow="ellipsis", no_wrap=True)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _cells(entry: Mapping[str, Any], of: Callable[[Any], float]) -> list[str]:
    """What a look found, learned beside fixed; ``of`` the classes."""
    return [
        f"{factor * of(entry[f'{kind}.{field}']):.{digits}f}"
        for field, factor, digits in QUANTITIES
        for kind in ("learned", "fixed")
    ]


def _class_names(run: Path, count: int) -> Sequence[str]:
    """Of the run's set; numbers if it has none yet."""
    try:
        names = load(run).class_names
    except NcfmError:
        return [str(i) for i in range(count)]
    return names if len(names) == count else [str(i) for i in range(count)]
