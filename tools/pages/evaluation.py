"""The table of docs/explanation/evaluation.md."""

from __future__ import annotations

from collections.abc import Iterable

from ncfm.results.files import latest
from ncfm.results.formatting import of_row
from ncfm.results.published import published
from tools.pages.cells import whole
from tools.pages.sources import results

PAGE = "docs/explanation/evaluation.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {"results": networks_table(latest(filter(is_of_networks, results("accuracy"))))}


def networks_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of networks trained on one distilled dataset, with the paper's accuracies where it has them."""
    lines = [
        "| data | IPC | network | accuracy | 95 % interval | paper | runs | protocol | seconds |",
        "|---|---:|---|---:|:---:|---:|---:|---|---:|",
    ]
    for r in rows:
        paper = published(r["dataset"], float(r["ipc"]), r["network"])
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {r['network']} | {' | '.join(of_row(r))} "
            f"| {'-' if paper is None else paper} "
            f"| {r['num_runs']} | {r['protocol']} | {whole(r['evaluate_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


def is_of_networks(row: dict[str, str]) -> bool:
    """Whether a row is one of several networks that were trained on one dataset by an unchanged protocol."""
    command = row["command"]
    return command.startswith("ncfm evaluate") and "--networks" in command and "@" not in row["protocol"]
