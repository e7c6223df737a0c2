"""`python -m benchmarks.scaling`: how the package's iteration grows, in time and memory, with each size of a problem.

Images of noise, one process a point. A line is fitted to the logarithms of each curve's upper half: its slope is the
power with which the cost grows there (1 is linear, 2 quadratic; pixels grow with the square of the image's side).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.problem import Problem, race
from benchmarks.records import CostRow
from benchmarks.step import cost_row
from ncfm.results.files import append_rows

CURVES: dict[str, tuple[int, ...]] = {
    "num_classes": (10, 30, 100, 300, 1000),
    "ipc": (1, 3, 10, 30, 100),
    "image_size": (8, 16, 32, 64, 128, 224),
    "real_batch_per_class": (16, 64, 256, 1024),
    "num_frequencies": (64, 256, 1024, 4096),
}
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
        draw(found, options.plot)


def slope(points: list[tuple[float, float]]) -> float:
    """Least-squares slope of log y over log x."""
    xs, ys = ([math.log(p[i]) for p in points] for i in (0, 1))
    x, y = math.fsum(xs) / len(xs), math.fsum(ys) / len(ys)
    spread = math.fsum((a - x) ** 2 for a in xs)
    return math.fsum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True)) / spread if spread else math.nan


def draw(found: dict[str, list[CostRow]], path: Path) -> None:
    """Time and memory of every curve, on logarithmic axes."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        Console().print("No picture: matplotlib is not installed (pip install matplotlib).")
        return
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(found), figsize=(3.2 * len(found), 5.6), squeeze=False, sharey="row")
    for column, (curve, rows) in enumerate(found.items()):
        xs = [getattr(row, curve) for row in rows]
        for axis, values, label in (
            (axes[0][column], [row.seconds_median for row in rows], "s / iteration"),
            (axes[1][column], [row.peak_memory_mb for row in rows], "peak MiB"),
        ):
            axis.loglog(xs, values, "o-", color="#1f5fa8")
            axis.grid(True, which="both", alpha=0.25)
            if column == 0:
                axis.set_ylabel(label)
        axes[1][column].set_xlabel(curve.replace("_", " "))
    figure.suptitle(f"An iteration of ncfm, {rows[0].device}, {rows[0].threads} threads")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
