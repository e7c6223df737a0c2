"""`python -m benchmarks.scaling`: how the package's iteration grows, in time and memory, with each size of a problem.

Images of noise, one process a point. A line is fitted to the logarithms of each curve's upper half: its slope is the
power with which the cost grows there (1 is linear, 2 quadratic; pixels grow with the square of the image's side).
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.problem import Problem
from benchmarks.race import race
from benchmarks.records import CostRow
from benchmarks.step import cost_row
from ncfm.results.figures import COLORS, name_panel, new_figure, save_figure
from ncfm.results.files import append_rows

CURVES: dict[str, tuple[int, ...]] = {
    "num_classes": (10, 30, 100, 300, 1000),
    "ipc": (1, 3, 10, 30, 100),
    "image_size": (8, 16, 32, 64, 128, 224),
    "real_batch_per_class": (16, 64, 256, 1024),
    "num_frequencies": (64, 256, 1024, 4096),
}
TICKS = {"seconds_median": (1,), "peak_memory_mb": (1, 2, 5)}  # times powers of ten
LABELS = {  # what grows, for people
    "num_classes": "classes",
    "ipc": "IPC",
    "image_size": "side of the image, px",
    "real_batch_per_class": "real batch",
    "num_frequencies": "frequencies",
}
COSTS = {"seconds_median": "seconds per iteration", "peak_memory_mb": "peak memory, MiB"}
# Small enough that the largest point of every curve takes seconds on two cores.
BASE = Problem(dataset="random", ipc=1, real_batch_per_class=16, num_frequencies=256, width=32)


def main() -> None:
    """Time every curve, print slopes, draw them, append rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--curves", default=",".join(CURVES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--largest", type=int, default=10**9, help="leave out points beyond this size")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    parser.add_argument("--plot", type=Path, help="write the curves to this PNG")
    options = parser.parse_args()
    table = Table("size", "from", "to", "slope of time", "slope of memory", "s at the end", "MiB at the end")
    table.columns[0].no_wrap = True
    found: dict[str, list[CostRow]] = {}
    for curve in options.curves.split(","):
        found[curve] = []
        for value in CURVES[curve]:
            if value > options.largest:
                continue
            problem = replace(BASE, device=options.device, **{curve: value})
            timings = race(problem, ["ncfm"], repeats=options.repeats)["ncfm"]
            found[curve].append(cost_row(f"scaling:{curve}", "ncfm", problem, timings))
            Console().print(f"{curve} {value}: {timings.median:.3f} s, {timings.peak_memory_mb:.0f} MiB")
        points = [(getattr(row, curve), row) for row in found[curve]]
        half = points[len(points) // 2 :]
        table.add_row(
            curve,
            str(points[0][0]),
            str(points[-1][0]),
            f"{slope([(x, row.seconds_median) for x, row in half]):.2f}",
            f"{slope([(x, row.peak_memory_mb) for x, row in half]):.2f}",
            f"{points[-1][1].seconds_median:.2f}",
            f"{points[-1][1].peak_memory_mb:.0f}",
        )
    Console().print(table)
    if options.results:
        append_rows(options.results, [row for rows in found.values() for row in rows])
    if options.plot:
        draw({curve: [asdict(row) for row in rows] for curve, rows in found.items()}, options.plot)


def slope(points: list[tuple[float, float]]) -> float:
    """Least-squares slope of log y over log x."""
    xs, ys = ([math.log(p[i]) for p in points] for i in (0, 1))
    x, y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    spread = math.fsum((a - x) ** 2 for a in xs)
    return math.fsum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else math.nan


def draw(curves: Mapping[str, Sequence[Mapping[str, Any]]], path: Path) -> None:
    """Time and memory of every curve, on logarithmic axes, a row for each.

    Args:
        curves: rows of `CostRow` as mappings, by the name of what grows, in ascending order of it.
        path: of the PNG file.
    """
    from matplotlib.ticker import LogLocator, NullFormatter

    figure, axes = new_figure(len(curves), 2, height=1.75, sharey="col")
    for i, (curve, rows) in enumerate(curves.items()):
        sizes = [int(row[curve]) for row in rows]
        for axis, cost in zip(axes[2 * i : 2 * i + 2], COSTS, strict=True):
            axis.loglog(sizes, [float(row[cost]) for row in rows], "o-", color=COLORS[0], markersize=4)
            for scale, steps in ((axis.xaxis, (1,)), (axis.yaxis, TICKS[cost])):
                scale.set_major_locator(LogLocator(subs=steps))
                scale.set_major_formatter("{x:g}")
                scale.set_minor_formatter(NullFormatter())
            axis.set_xlabel(LABELS[curve])
    for axis, label in zip(axes, COSTS.values(), strict=False):
        name_panel(axis, label)
    machines = dict.fromkeys(f"{row['device']}, {row['threads']} threads" for rows in curves.values() for row in rows)
    save_figure(figure, path, f"An iteration of ncfm, {'; '.join(machines)}")


if __name__ == "__main__":
    main()
