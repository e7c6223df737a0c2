"""`python -m benchmarks.beyond_memory`: iterations on images mapped from a file, raced against the same in memory.

A thousand classes of 300 made images of 64 px, 3.7 GB decoded: the shape of ImageNet-1K, a quarter of its size.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.problem import Problem
from benchmarks.race import race
from benchmarks.step import cost_row
from ncfm.results.files import append_rows


def main() -> None:
    """Time both, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.beyond_memory", description=__doc__)
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images-per-class", type=int, default=300)
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32, help="of the network: narrow, so that reading images weighs")
    parser.add_argument("--real-batch", type=int, default=16, help="images per class in an iteration")
    parser.add_argument("--gradient-chunk", type=int, default=50, help="synthetic images per pass with gradient")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    options = parser.parse_args()
    problem = Problem(
        dataset="large",
        ipc=1,
        factor=1,
        real_batch_per_class=options.real_batch,
        num_frequencies=256,
        image_size=options.image_size,
        num_classes=options.classes,
        width=options.width,
        gradient_chunk_size=options.gradient_chunk,
        images_per_class=options.images_per_class,
    )
    found = race(problem, ["ncfm", "ncfm, mapped"], repeats=options.repeats)
    table = Table("images", "s / iteration", "spread", "peak MiB", "time, relative")
    rows = []
    for name, timings in found.items():
        table.add_row(
            "mapped from a file" if "mapped" in name else "in memory",
            f"{timings.median:.3f}",
            f"{min(timings.seconds):.3f} to {max(timings.seconds):.3f}",
            f"{timings.peak_memory_mb:.0f}",
            f"{timings.median / found['ncfm'].median:.2f}",
        )
        rows.append(cost_row("beyond-memory", name, problem, timings, found["ncfm"]))
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


if __name__ == "__main__":
    main()
