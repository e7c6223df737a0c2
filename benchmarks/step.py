"""`python -m benchmarks.step`: the package's iteration raced against the published way of computing."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.problem import Problem
from benchmarks.race import Timings, race
from benchmarks.records import CostRow
from ncfm.results.files import append_rows, code_version, command_line, today

POINTS = ((64, 1024), (1024, 4096))  # real images a class, frequencies
FORMS = (
    *("reference", "reference, memory kept", "reference, learned", "reference, learned, memory kept"),
    *("ncfm, fixed", "ncfm", "ncfm, float32", "ncfm, one pass"),
)
ADVERSARIES = ("ncfm, fixed", "ncfm", "ncfm, per teacher", "ncfm, fisher", "ncfm, entropic")


def main() -> None:
    """Time the points asked for, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step", description=__doc__)
    parser.add_argument("--dataset", default="cifar10", help="cifar10, digits, ... or random")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5, help="timed iterations of each")
    parser.add_argument("--points", default=",".join(f"{n}x{k}" for n, k in POINTS), help="real images x frequencies")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", help="implementations, joined by semicolons")
    parser.add_argument("--adversaries", action="store_true", help="the package's adversaries, as rows of their own")
    parser.add_argument("--classes", type=int, default=10, help="of a random data set")
    parser.add_argument("--image-size", type=int, default=32, help="of a random data set")
    parser.add_argument("--gradient-chunk", type=int, help="images per pass with gradient; default by memory")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    options = parser.parse_args()
    names = options.only.split(";") if options.only else list(ADVERSARIES if options.adversaries else FORMS)
    benchmark = "step:adversaries" if options.adversaries else "step"
    table = Table("real", "freq.", "implementation", "s / iteration", "spread", "CPU s", "MiB", "process MiB", "ratio")
    base = Problem(
        dataset=options.dataset,
        ipc=options.ipc,
        device=options.device,
        num_classes=options.classes,
        image_size=options.image_size,
        gradient_chunk_size=options.gradient_chunk,
    )
    if base.dataset != "random":
        images = base.images()
        base = replace(base, num_classes=images.num_classes, image_size=images.image_size)
    rows = []
    for point in options.points.split(","):
        n, k = (int(v) for v in point.split("x"))
        problem = replace(base, real_batch_per_class=n, num_frequencies=k)
        found = race(problem, names, repeats=options.repeats)
        for name, timings in found.items():
            rows.append(cost_row(benchmark, name, problem, timings, found.get("reference")))
            table.add_row(
                str(n),
                str(k),
                name,
                f"{timings.median:.3f}",
                f"{min(timings.seconds):.3f} to {max(timings.seconds):.3f}",
                f"{timings.cpu_median:.3f}",
                f"{timings.iteration_memory_mb:.0f}",
                f"{timings.peak_memory_mb:.0f}",
                f"{rows[-1].ratio_to_reference:.2f}" if rows[-1].ratio_to_reference else "-",
            )
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


def cost_row(
    benchmark: str, name: str, problem: Problem, timings: Timings, reference: Timings | None = None
) -> CostRow:
    """A row for ``results/cost.csv``."""
    return CostRow(
        benchmark=benchmark,
        implementation=name,
        dataset=problem.dataset,
        ipc=problem.ipc,
        real_batch_per_class=problem.real_batch_per_class,
        num_frequencies=problem.num_frequencies,
        image_size=problem.image_size,
        num_classes=problem.num_classes,
        seconds_median=timings.median,
        seconds_min=min(timings.seconds),
        seconds_max=max(timings.seconds),
        peak_memory_mb=timings.peak_memory_mb,
        ratio_to_reference=reference.median / timings.median if reference else None,
        device=timings.device,
        threads=timings.threads,
        command=command_line(),
        commit=code_version(),
        date=today(),
        cpu_seconds_median=timings.cpu_median,
        iteration_memory_mb=timings.iteration_memory_mb,
    )


if __name__ == "__main__":
    main()
