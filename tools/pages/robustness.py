"""The tables of docs/explanation/robustness.md."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.records import COUNTED

from tools.pages.cells import label
from tools.pages.sources import results

PAGE = "docs/explanation/robustness.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {"faults": faults_table(results("faults")), "fuzz": fuzz_table(results("fuzz"))}


def faults_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of faults in commands, and how often the results were those of undisturbed commands."""
    lines = [
        "| fault | stage | trials | survived | iterations lost, mean (max) | temporary files left |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for r in rows:
        counted = r["stage"] == "distilling" and r["fault"] in COUNTED
        lost = f"{float(r['lost_iterations_mean']):.1f} ({r['lost_iterations_max']})" if counted else "-"
        lines.append(
            f"| {label(r['fault'])} | {r['stage']} | {r['tried']} | {r['survived']} | {lost} | {r['left_behind']} |"
        )
    return "\n".join(lines) + "\n"


def fuzz_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of readers and the damaged files that they received, with a sum; of a reader its last row."""
    lines = ["| reader | inputs | accepted | rejected | findings |", "|---|---:|---:|---:|---:|"]
    found = {row["reader"]: row for row in rows}.values()
    total = {name: str(sum(int(r[name]) for r in found)) for name in ("inputs", "read", "refused", "findings")}
    for r in (*found, {"reader": "all", **total}):
        lines.append(f"| {label(r['reader'])} | {r['inputs']} | {r['read']} | {r['refused']} | {r['findings']} |")
    return "\n".join(lines) + "\n"
