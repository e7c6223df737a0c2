"""The tables of docs/how-to/reproduce.md."""

from __future__ import annotations

from collections.abc import Iterable

from ncfm.results.formatting import duration, machine_of, of_row, part_of, spaced
from ncfm.workflows import rows as table_rows
from tools.pages.cells import whole
from tools.pages.sources import results

PAGE = "docs/how-to/reproduce.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    planned = {row["row"]: row for row in results("planned")}
    recipes = [(of, table_rows.committed_row(of.name)) for of in table_rows.rows()]
    return {
        "rows": rows_table((of.name, of.paper, row) for of, row in recipes),
        "planned": planned_table((of.name, of.paper, planned.get(of.name)) for of, row in recipes if not row),
    }


def rows_table(rows: Iterable[tuple[str, float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of what `ncfm reproduce` can run: name, the paper's accuracy in percent, the committed row.

    `planned_table` has the rows that are not committed yet.
    """
    lines = [
        "| row | paper | ours | 95 % interval | training images | evaluation | teachers, s | distil, s | machine |",
        "|---|---:|---:|:---:|---|---|---:|---:|---|",
    ]
    for name, paper, row in rows:
        told = "-" if paper is None else f"{paper:.1f}"
        if row is None:
            continue
        seconds = " | ".join(whole(row[key]) for key in ("teacher_seconds", "distill_seconds"))
        lines.append(
            f"| {name} | {told} | {' | '.join(of_row(row))} | {part_of(name, row)} "
            f"| {row['num_runs']} x {spaced(row['protocol'])} | {seconds} | {machine_of(row)} |"
        )
    return "\n".join(lines) + "\n"


def planned_table(rows: Iterable[tuple[str, float | None, dict[str, str] | None]]) -> str:
    """A Markdown table of rows that have not been run: name, the paper's accuracy in percent, predicted times."""
    lines = [
        "| row | paper | teachers | distillation | evaluation | total | machine |",
        "|---|---:|---:|---:|---:|---:|---|",
    ]
    for name, paper, row in rows:
        times, machine = ["-"] * 4, "-"
        if row is not None:
            stages = [float(row[f"{stage}_seconds"]) for stage in ("teacher", "distill", "evaluate")]
            times, machine = [duration(seconds) for seconds in (*stages, sum(stages))], machine_of(row)
        lines.append(f"| {name} | {'-' if paper is None else f'{paper:.1f}'} | {' | '.join(times)} | {machine} |")
    return "\n".join(lines) + "\n"
