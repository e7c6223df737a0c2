"""The table of docs/index.md."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tools.pages.cells import data_name, mean_percent
from tools.pages.readme import overview
from tools.pages.sources import results

PAGE = "docs/index.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    rows = overview(results("accuracy"), HOME_ROWS)
    return {"home": home_table((name, row, random) for name, row, _, random in rows)}


def home_table(rows: Iterable[tuple[str, Mapping[str, str], Mapping[str, str] | None]]) -> str:
    """A Markdown table of a few rows: name of the row, the row, and random real images under the same conditions."""
    lines = ["| trained on | IPC | distilled images | random real images |", "|---|---:|---:|---:|"]
    for name, row, random in rows:
        data, ipc = name.split("-ipc")
        other = "-" if random is None else f"{mean_percent(random)} %"
        lines.append(f"| {data_name(data)} | {ipc} | **{mean_percent(row)} %** | {other} |")
    return "\n".join(lines) + "\n"


HOME_ROWS = ("cifar10-ipc10", "imagenette-ipc1", "fashion-mnist-ipc10")
