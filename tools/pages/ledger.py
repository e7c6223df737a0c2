"""The table of docs/explanation/ledger.md."""

from __future__ import annotations

from collections.abc import Iterable

from ncfm.results.formatting import interval_of, mean_of, spaced
from tools.pages.sources import results

PAGE = "docs/explanation/ledger.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {"ledger": ledger_table(results("ledger"))}


def ledger_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of published sets that were re-evaluated, with real images at the same storage."""
    lines = [
        "| set | data | IPC | method | published | here | 95 % interval | random | herding | evaluation |",
        "|---|---|---:|---|---:|---:|:---:|---:|---:|---|",
    ]
    for r in sorted(rows, key=lambda r: (r["dataset"], float(r["ipc"]), r["method"], r["name"])):
        here, random, herding = (_accuracy_of(r, name) for name in ("accuracy", "random", "herding"))
        between = interval_of(_number(r["accuracy_low"]), _number(r["accuracy_high"]))
        stored = f" ({r['normalized_by']})" if r["normalized_by"] else ""
        lines.append(
            f"| {r['name']}{stored} | {r['dataset']} | {r['ipc']} | {r['method']} | {r['published'] or '-'} "
            f"| {here} | {between} | {random} | {herding} | {r['num_runs']} x {spaced(r['protocol'])} |"
        )
    return "\n".join(lines) + "\n"


def _accuracy_of(row: dict[str, str], name: str) -> str:
    """An accuracy of a ledger's row with its standard deviation."""
    return mean_of(float(row[f"{name}_mean"]), float(row[f"{name}_std"] or "nan"), _number(row[f"{name}_low"]))


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
