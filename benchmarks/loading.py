"""`python -m benchmarks.loading`: the first and the second use of a data set, from its files to training-ready.

Training-ready: images by class, statistics and fingerprint known, one batch of every class drawn. Every use is a
process of its own; the first has an empty cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.problem import Problem
from benchmarks.race import Timings
from benchmarks.step import cost_row
from ncfm._utils.device import describe_device, peak_memory_mb
from ncfm._utils.seeding import generator
from ncfm.data import draw_class_batches, load_images
from ncfm.results.files import append_rows


def use(name: str) -> None:
    """Make a data set training-ready; print how long it took and how much memory."""
    began = time.perf_counter()
    images = load_images(name)
    images.train.batch(draw_class_batches(images.train, 64, generator(0, "batches")).flatten())
    _ = images.statistics, images.fingerprint
    print(time.perf_counter() - began, peak_memory_mb(torch.device("cpu")), images.image_size, images.num_classes)


def main() -> None:
    """Time both, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=__doc__)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    parser.add_argument("--use", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.use:
        use(options.use)
        return
    seconds: dict[str, list[float]] = {"first use": [], "second use": []}
    memory, size, classes = 0.0, 0, 0
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory() as cache:
            for which in seconds:
                said = subprocess.run(
                    [sys.executable, "-m", "benchmarks.loading", "--use", options.data],
                    env=os.environ | {"NCFM_CACHE": cache},
                    capture_output=True,
                    text=True,
                    check=True,
                ).stdout.split()
                seconds[which].append(float(said[0]))
                memory, size, classes = max(memory, float(said[1])), int(said[2]), int(said[3])
    problem = replace(Problem(), dataset=options.data, image_size=size, num_classes=classes)
    table = Table("use", "s", "spread")
    rows = []
    for which, values in seconds.items():
        table.add_row(which, f"{statistics.median(values):.2f}", f"{min(values):.2f} to {max(values):.2f}")
        timings = Timings(values, memory, describe_device(torch.device("cpu")), torch.get_num_threads())
        rows.append(cost_row("loading", which, problem, timings))
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


if __name__ == "__main__":
    main()
