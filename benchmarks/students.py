"""`python -m benchmarks.students`: the students of an evaluation trained side by side, raced against one by one."""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.problem import Problem
from benchmarks.records import CostRow
from ncfm import kernels
from ncfm._utils import accelerator
from ncfm._utils.compute import Compute
from ncfm._utils.device import choose_device, choose_precision, describe_device, peak_memory_mb
from ncfm.data.image_set import ImageSplit
from ncfm.evaluation import evaluate, get_protocol
from ncfm.results.files import append_rows, code_version, command_line, today


def main() -> None:
    """Time both ways in turns, print the table, append rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.students", description=__doc__)
    parser.add_argument("--students", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    options = parser.parse_args()
    device = choose_device(options.device)
    accelerator.use(device, tf32=True)
    precision = choose_precision("auto", device, compiled=False)
    problem = Problem(dataset="random", ipc=options.ipc, real_batch_per_class=1, image_size=options.image_size)
    images = problem.images()
    test = ImageSplit.of(images.train.images[:64], images.train.labels[:64], problem.num_classes)  # hardly any
    protocol = get_protocol("quick", epochs=options.epochs, num_runs=options.students)
    seconds: dict[str, list[float]] = {"one by one": [], "one by one, PyTorch's operators": [], "side by side": []}
    for repeat in range(options.repeats + 1):  # the first is the warm-up
        for name, times in seconds.items():
            kernels.enable(name == "one by one")
            began = time.perf_counter()
            evaluate(
                images.train.labelled(),
                test,
                num_classes=problem.num_classes,
                statistics=images.statistics,
                protocol=protocol,
                compute=Compute(device=device, precision=precision, side_by_side=name == "side by side"),
            )
            if repeat:
                times.append((time.perf_counter() - began) / options.epochs)
    table = Table("students", "way", "s / epoch of all", "spread", "ratio")
    rows = []
    reference = statistics.median(seconds["one by one"])
    for name, times in seconds.items():
        ratio = reference / statistics.median(times)
        table.add_row(
            str(options.students),
            name,
            f"{statistics.median(times):.3f}",
            f"{min(times):.3f} to {max(times):.3f}",
            f"{ratio:.2f}",
        )
        rows.append(
            CostRow(
                benchmark=f"students:{options.students}",
                implementation=name,
                dataset="random",
                ipc=options.ipc,
                real_batch_per_class=0,
                num_frequencies=0,
                image_size=options.image_size,
                num_classes=problem.num_classes,
                seconds_median=statistics.median(times),
                seconds_min=min(times),
                seconds_max=max(times),
                peak_memory_mb=peak_memory_mb(device),
                ratio_to_reference=ratio,
                device=describe_device(device),
                threads=torch.get_num_threads(),
                command=command_line(),
                commit=code_version(),
                date=today(),
            )
        )
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


if __name__ == "__main__":
    main()
