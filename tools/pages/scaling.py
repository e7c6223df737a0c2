"""The tables of docs/explanation/scaling.md."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from benchmarks.records import DRAWS, MESSAGE

from tools.pages.cells import label
from tools.pages.sources import results

PAGE = "docs/explanation/scaling.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    rows = results("ranks")
    return {
        "ranks": ranks_table(rows),
        "scaling": scaling_table(rows),
        "plan": plan_table(rows, 2000, (1, 2, 64, 256, 1000)),
    }


def ranks_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of the difference of several ranks to one process; the last of rows that compared the same."""
    found = {(r["case"], int(r["ranks"]), int(r["iterations"])): r for r in rows if r["difference_max"]}
    lines = [
        "| case | ranks | iterations | furthest pixel | after a last-bit change | repeatable |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for (case, ranks, iterations), r in found.items():
        values = (float(r[name]) for name in ("difference_max", "rounding_max"))
        furthest, rounding = (f"{value:.1e}" if value else "0" for value in values)
        twice = "yes" if r["same_twice"] == "True" else "**no**"
        lines.append(f"| {label(case)} | {ranks} | {iterations} | {furthest} | {rounding} | {twice} |")
    return "\n".join(lines) + "\n"


PLANNED = "10 classes, 64 px, IPC 10, width 128, 64 real images, 1024 frequencies"


def scaling_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of the time that ranks took; the last of rows that timed the same."""
    found = {(r["case"], int(r["ranks"])): r for r in rows if r["seconds_median"]}
    lines = ["| case | ranks | seconds per iteration | speedup | machine |", "|---|---:|---:|---:|---|"]
    for (case, ranks), r in found.items():
        faster = f"{float(r['speedup']):.2f}" if r["speedup"] else "-"
        lines.append(f"| {case} | {ranks} | {float(r['seconds_median']):.3g} | {faster} | {r['device']} |")
    return "\n".join(lines) + "\n"


def plan_table(rows: Iterable[dict[str, str]], iterations: int, counts: Sequence[int]) -> str:
    """A Markdown table of predicted times for ImageNet-1K at 64 px, ten images per class, by number of cores.

        seconds per iteration (N) = draws + message + 1000 / N * (m T(m)) / 10,

    T(m) is the timed iteration of ten such classes by m ranks, which includes the contention of cores of one machine.
    A single core has no contention.
    """
    found = {
        (row["case"].partition(" (")[0], int(row["ranks"])): float(row["seconds_median"])
        for row in rows
        if row["seconds_median"]
    }
    lines = [
        f"| cores | seconds per iteration | distributed share | {iterations:,} iterations, hours |",
        "|---:|---:|---:|---:|",
    ]
    if (PLANNED, 1) not in found:
        return "\n".join(lines) + "\n"
    message = max(seconds for (case, _), seconds in found.items() if case == MESSAGE)
    timed = max(ranks for case, ranks in found if case == PLANNED)
    for count in counts:
        ranks = min(count, timed)
        share = 1000 / count * ranks * found[PLANNED, ranks] / 10
        whole = found[DRAWS, 1] + (message if count > 1 else 0.0) + share
        lines.append(f"| {count} | {whole:.3g} | {100 * share / whole:.1f} % | {whole * iterations / 3600:.3g} |")
    return "\n".join(lines) + "\n"
