"""``ncfm diagnose``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ncfm
from ncfm.cli._options import AsJson, Plot, flatten_options
from ncfm.cli._output import print_json, say, show, table

if TYPE_CHECKING:
    from rich.table import Table

SHOWN = 10  # iterations in the table
# Of a diagnosis: field, factor, digits. Each is shown for the learned and for the fixed frequencies.
QUANTITIES = (("discrepancy", 1, 4), ("amplitude_share", 100, 0), ("modulus", 1, 2), ("excess", 1, 2))
PAIRS = ("NCFD\npsi", "\nfixed", "amp. %\npsi", "\nfixed", "|Phi_x|\npsi", "\nfixed", "excess\npsi", "\nfixed")


@flatten_options
def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, distilled with machine.diagnose_every.")],
    *,
    classes: Annotated[bool, typer.Option("--classes", help="Show the last iteration, class by class.")] = False,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Compare the learned frequencies of a run with fixed ones of the same number and scale.

    Example: `ncfm diagnose runs/digits-ipc1 --plot frequencies.png`

    Distil with `--set machine.diagnose_every=50` first. Excess is the squared distance of the characteristic functions,
    divided by that of two samples from the same distribution: a value of 1 means that there is no difference to see.
    """
    found = ncfm.diagnose(run)
    if plot is not None:
        from ncfm.results.plots import plot_diagnosis

        plot_diagnosis(found.entries, plot, f"{run.expanduser().name}: learned frequencies", found.class_names)
    if as_json:
        print_json(list(found.entries))
        return
    show(_by_class(found.entries[-1], found.class_names) if classes else _by_iteration(found.entries))
    if plot is not None:
        say(f"Picture: {plot}", wrap=False)


def _by_iteration(entries: Sequence[Mapping[str, Any]]) -> Table:
    """At most `SHOWN` iterations, means over the classes."""
    caption = "Means over the classes; psi: the learned frequencies."
    made = table("iter.", *PAIRS, "bandwidth\n5-95 %", caption=caption)
    shown = sorted({round(i * (len(entries) - 1) / (SHOWN - 1)) for i in range(SHOWN)})
    for entry in (entries[i] for i in shown):
        low, *_, high = entry["learned.bandwidths"]
        made.add_row(str(entry["iteration"]), *_cells(entry, fmean), f"{low:.2f}-{high:.2f}")
    return made


def _by_class(entry: Mapping[str, Any], names: Sequence[str]) -> Table:
    """One iteration, a row for each class."""
    from rich.markup import escape

    made = table("class", *PAIRS, caption=f"After iteration {entry['iteration']}; psi: the learned frequencies.")
    for i, name in enumerate(names):
        made.add_row(escape(name), *_cells(entry, itemgetter(i)))
    return made


def _cells(entry: Mapping[str, Any], of: Callable[[Any], float]) -> list[str]:
    """The quantities of an iteration, learned next to fixed; ``of`` takes a number from those of the classes."""
    return [
        f"{factor * of(entry[f'{kind}.{field}']):.{digits}f}"
        for field, factor, digits in QUANTITIES
        for kind in ("learned", "fixed")
    ]
