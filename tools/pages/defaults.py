"""The table of docs/explanation/defaults.md."""

from __future__ import annotations

from collections.abc import Iterable

from tools.pages.sources import results_if_any

PAGE = "docs/explanation/defaults.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {"trial": defaults_table(results_if_any("defaults"))}


def defaults_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of default settings on data without a recipe: distilled, herded and random images."""
    found: dict[tuple[str, str], dict[str, dict[str, str]]] = {}
    for r in rows:
        found.setdefault((r["dataset"], r["ipc"]), {})[r["method"]] = r
    if not found:
        return "Not run yet: `python -m benchmarks.trial --results results/defaults.csv`.\n"
    lines = [
        "| data | field | held out | IPC | distilled | herding | random | warning |",
        "|---|---|---|---:|---:|---:|---:|---|",
    ]
    for (name, ipc), methods in found.items():
        first = methods["ncfm"]
        cells = (
            f"{100 * float(methods[m]['accuracy_mean']):.1f} ± {100 * float(methods[m]['accuracy_std']):.1f}"
            for m in ("ncfm", "herding", "random")
        )
        held, warned = ("yes" if first["held_out"] == "True" else "no"), ("yes" if first["warned"] else "-")
        lines.append(f"| {name} | {first['field']} | {held} | {ipc} | {' | '.join(cells)} | {warned} |")
    return "\n".join(lines) + "\n"
