"""`python -m benchmarks.peers`: an iteration of NCFM against one of trajectory matching (DATM), in turns in one run.

DATM's iteration trains a student for many steps, 80 in its published settings, and both its time and, unrolled, its
memory grow with them along a line. So two small numbers of steps are timed, and the line tells the rest: rows that are
told by a line say so. Memory is the whole process's, program and data set included.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.players import trajectories
from benchmarks.problem import Problem
from benchmarks.race import Timings, race
from benchmarks.step import cost_row
from ncfm.results.files import append_rows

POINTS = {"unrolled": (2, 4), "replayed": (4, 8), "tesla": (4, 8)}  # steps that are timed


@dataclass(frozen=True)
class Line:
    """A quantity that grows with the steps as ``at_zero + slope * steps``."""

    at_zero: float
    slope: float

    @classmethod
    def through(cls, first: tuple[float, float], second: tuple[float, float]) -> Line:
        """The line through two points (steps, value)."""
        slope = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - slope * first[0], slope)

    def at(self, steps: float) -> float:
        """The value at a number of steps."""
        return self.at_zero + self.slope * steps


def told(few: Timings, more: Timings, points: tuple[int, int], steps: int, *, grows: bool) -> Timings:
    """What two measurements tell of another number of steps; memory too if it grows with them."""
    seconds = [
        Line.through((points[0], a), (points[1], b)).at(steps)
        for a, b in zip(sorted(few.seconds), sorted(more.seconds), strict=True)
    ]
    memory = more.peak_memory_mb
    if grows:
        memory = Line.through((points[0], few.peak_memory_mb), (points[1], memory)).at(steps)
    return replace(more, seconds=seconds, peak_memory_mb=memory)


def main() -> None:
    """Race at every IPC, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--ipcs", default="1,10,50")
    parser.add_argument("--steps", type=int, default=80, help="of DATM's student")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    options = parser.parse_args()
    table = Table("ipc", "implementation", "s / iter.", "MiB", "time", "memory", caption="time, memory: over ncfm's")
    rows = []
    for ipc in (int(text) for text in options.ipcs.split(",")):
        problem = Problem(dataset=options.dataset, ipc=ipc, device=options.device)
        names = [trajectories(way, steps) for way, points in POINTS.items() for steps in points]
        measured = race(problem, ["ncfm", *names], repeats=options.repeats)
        for way, points in POINTS.items():
            few, more = (measured[trajectories(way, steps)] for steps in points)
            name = f"{trajectories(way, options.steps)} by the line of {points[0]} and {points[1]}"
            measured[name] = told(few, more, points, options.steps, grows=way == "unrolled")
        ncfm = measured["ncfm"]
        for name, timings in measured.items():
            plain = problem if name == "ncfm" else replace(problem, real_batch_per_class=0, num_frequencies=0)
            rows.append(cost_row("peers", name, plain, timings, ncfm))
            table.add_row(
                str(ipc),
                name.replace(" by", "\n  by"),
                f"{timings.median:.2f}",
                f"{timings.peak_memory_mb:.0f}",
                f"{timings.median / ncfm.median:.1f}",
                f"{timings.peak_memory_mb / ncfm.peak_memory_mb:.1f}",
            )
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


if __name__ == "__main__":
    main()
