"""``ncfm diagnose``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

from ncfm._checks import NcfmError
from ncfm.cli._common import AsJson, console, print_json
from ncfm.distillation.running import DIAGNOSIS_FILE, read_lines
from ncfm.report.plots import plot_diagnosis

# Of a diagnosis: field, factor, digits.
COLUMNS = (("discrepancy", 1, 4), ("amplitude_share", 100, 0), ("modulus", 1, 2), ("excess", 1, 2))


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, distilled with machine.diagnose_every.")],
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw a picture into this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Where the adversary looked during a run, beside fixed frequencies of the same number and scale.

    Example: `ncfm diagnose runs/digits-ipc1 --plot looks.png`

    The run must have been told to look: `--set machine.diagnose_every=50`. Excess is the squared distance of the
    characteristic functions over what two samples of one law would show: where it is 1 there is nothing to see.
    """
    entries = read_lines(run.expanduser() / DIAGNOSIS_FILE)
    if not entries:
        raise NcfmError(
            f"{run} has no {DIAGNOSIS_FILE}; distil with --set machine.diagnose_every=50, and with frequencies."
        )
    if plot is not None:
        plot_diagnosis(entries, plot, f"{run.name}: where the adversary looks")
    if as_json:
        print_json(entries)
        return
    table = Table(
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        pad_edge=False,
        caption="Means over the classes; psi: the learned frequencies.",
    )
    pairs = ("NCFD\npsi", "\nfixed", "ampl. %\npsi", "\nfixed", "modulus\npsi", "\nfixed", "excess\npsi", "\nfixed")
    for heading in ("iter.", *pairs, "bandwidth\n5-95 %"):
        table.add_column(heading, justify="right", no_wrap=True)
    shown = sorted({round(i * (len(entries) - 1) / 9) for i in range(10)})
    for entry in (entries[i] for i in shown):
        cells = [
            f"{factor * _mean(entry[f'{kind}.{field}']):.{digits}f}"
            for field, factor, digits in (
                ("discrepancy", 1, 4),
                ("amplitude_share", 100, 0),
                ("modulus", 1, 2),
                ("excess", 1, 2),
            )
            for kind in ("learned", "fixed")
        ]
        low, *_, high = entry["learned.bandwidths"]
        table.add_row(str(entry["iteration"]), *cells, f"{low:.2f}-{high:.2f}")
    console.print(table)
    if plot is not None:
        console.print(f"Picture: {plot}", highlight=False, soft_wrap=True, markup=False)


def _mean(values: Any) -> float:
    return float(sum(values) / len(values))
