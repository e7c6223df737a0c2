"""The tables of docs/explanation/methods.md."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ncfm.results.files import latest
from ncfm.results.formatting import of_row
from tools.pages.cells import whole
from tools.pages.sources import results

PAGE = "docs/explanation/methods.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {
        "results": methods_table(latest(filter(is_at_equal_time, results("accuracy")))),
        "race": race_table(row for row in results("cost") if row["benchmark"] == "peers"),
    }


def methods_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of methods, the best first: accuracy, and the cost of their iterations.

    The text around the table gives the time budget and the network, which the methods of a dataset share.
    """
    lines = [
        "| data | IPC | method | accuracy | 95 % interval | storage | iterations | s / iteration | distil, s "
        "| teachers or experts, s | memory, MiB |",
        "|---|---:|---|---:|:---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in sorted(rows, key=lambda row: (row["dataset"], float(row["ipc"]), -float(row["accuracy_mean"]))):
        shared = ("distill.seconds", "teachers.network")
        settings = [part for part in r["variant"].split(",") if part and not part.startswith(shared)]
        labels = re.search(r"labels=\w+", r["protocol"])  # of the evaluation networks, if not hard
        settings += [] if labels is None else [labels.group()]
        method = r["method"] + (f" ({', '.join(settings)})" if settings else "")
        played = r["iterations"] not in ("", "0")
        each = f"{float(r['distill_seconds']) / int(r['iterations']):.3g}" if played else "-"
        lines.append(
            f"| {r['dataset']} | {r['ipc']} | {method} | {' | '.join(of_row(r))} | {float(r['storage']):.4g} "
            f"| {r['iterations'] or '-'} | {each} | {whole(r['distill_seconds'])} "
            f"| {whole(r['teacher_seconds'])} | {whole(r['distill_memory_mb'])} |"
        )
    return "\n".join(lines) + "\n"


def race_table(rows: Iterable[dict[str, str]]) -> str:
    """A Markdown table of the cost of an iteration of NCFM and of trajectory matching.

    It has only rows of the published number of steps, which a line through the timed ones predicts.
    """
    lines = [
        "| IPC | iteration | s | relative to ncfm | process, MiB | relative to ncfm |",
        "|---:|---|---:|---:|---:|---:|",
    ]
    own: dict[str, dict[str, str]] = {}
    for r in rows:
        if r["implementation"] == "ncfm":
            own[r["ipc"]] = r
        elif " by " not in r["implementation"]:
            continue
        seconds, memory = (float(r[name]) for name in ("seconds_median", "peak_memory_mb"))
        usual = own[r["ipc"]]
        ratios = (seconds / float(usual["seconds_median"]), memory / float(usual["peak_memory_mb"]))
        slower, larger = ("-", "-") if r is usual else (f"{ratio:.3g}" for ratio in ratios)
        name = r["implementation"].split(" by ")[0]
        lines.append(f"| {r['ipc']} | {name} | {seconds:.3g} | {slower} | {memory:.0f} | {larger} |")
    return "\n".join(lines) + "\n"


def is_at_equal_time(row: dict[str, str]) -> bool:
    """Whether a row is one of methods that had the same time to distil."""
    return row["command"].startswith("ncfm compare") and "--minutes" in row["command"]
