"""Draw the plots of docs/ that come from rows of results files: ``python -m tools.row_figures [folder]``."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.scaling import draw as draw_growth
from benchmarks.soak import draw as draw_soak

from ncfm._utils.types import Interval
from ncfm.evaluation.search import SearchResult
from ncfm.results.bars import CostPoint, plot_costs
from ncfm.results.files import latest, read_rows
from ncfm.results.plots import plot_continual, plot_search
from tools.pages.cells import data_name
from tools.pages.methods import is_at_equal_time
from tools.pages.sources import ROOT
from tools.pages.speed import growth_curves

COMPARED = {"cifar10": "compare-cifar10.png", "fashion-mnist": "compare-fashion-mnist.png"}
CONTINUAL = {  # by data and steps
    ("digits", "5"): "continual-digits.png",
    ("digits", "10"): "continual10-digits.png",
    ("cifar10", "5"): "continual-cifar10.png",
    ("cifar10", "10"): "continual10-cifar10.png",
}
MEMORIES = {"set": "distilled dataset"}  # names of rows of earlier versions


class Curve(NamedTuple):
    """Accuracies after each step, as `plot_continual` draws them."""

    classes_seen: tuple[int, ...]
    curve: tuple[Interval, ...]


def spread(row: Mapping[str, str]) -> Interval:
    """The accuracy of a row."""
    return Interval(*(float(row[f"accuracy_{name}"] or "nan") for name in ("mean", "std", "low", "high")))


def cost_point(row: Mapping[str, str]) -> CostPoint:
    """A method with what its distillation cost."""
    variant = ", ".join(part for part in row["variant"].split(",") if part and "=" not in part)
    teacher = " (teacher)" if "teacher" in row["protocol"] else ""
    name = row["method"] + (f" ({variant})" if variant else "") + teacher
    seconds, memory = (float(row[key]) if row[key] else None for key in ("distill_seconds", "distill_memory_mb"))
    return CostPoint(name, spread(row), seconds, memory)


def curves(rows: Iterable[Mapping[str, str]]) -> dict[str, Curve]:
    """The curve of each memory."""
    found: dict[str, dict[int, Interval]] = {}
    for row in rows:
        found.setdefault(MEMORIES.get(row["memory"], row["memory"]), {})[int(row["classes_seen"])] = spread(row)
    return {name: Curve(tuple(steps), tuple(steps.values())) for name, steps in found.items()}


def searched(rows: Sequence[Mapping[str, str]]) -> SearchResult:
    """The result of a search, from a row for each network."""
    proxy, full = (tuple(float(row[f"{of}_accuracy"]) for row in rows) for of in ("proxy", "full"))
    return SearchResult(tuple(row["network"] for row in rows), proxy, full, math.nan, math.nan)


def main() -> None:
    """Draw all of them."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "images"
    results = ROOT / "results"
    accuracy = latest(filter(is_at_equal_time, read_rows(results / "accuracy.csv")))
    for data, name in COMPARED.items():
        points = [cost_point(row) for row in accuracy if row["dataset"] == data]
        plot_costs(points, folder / name, f"{data_name(data)}, the same time for each method")
    continual = read_rows(results / "continual.csv")
    for (data, steps), name in CONTINUAL.items():
        own = [row for row in continual if (row["dataset"], row["steps"]) == (data, steps)]
        assert not any(math.isnan(float(row["accuracy_low"] or "nan")) for row in own)
        plot_continual(curves(own), folder / name, f"{data_name(data)}, classes in {steps} steps")
    search = read_rows(results / "search.csv")
    title = f"{data_name(search[0]['dataset'])}, {search[0]['ipc']} images per class"
    plot_search(searched(search), folder / "search-cifar10.png", title)
    draw_growth(growth_curves(read_rows(results / "cost.csv")), folder / "scaling.png")
    draw_soak(read_rows(results / "soak.csv"), folder / "soak.png")


if __name__ == "__main__":
    main()
