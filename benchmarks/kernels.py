"""`python -m benchmarks.kernels`: CPU seconds of a training image, by kernels, PyTorch's operators, and compiled."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.records import CostRow
from ncfm import kernels
from ncfm._utils.device import describe_device, keep_freed_memory, peak_memory_mb
from ncfm._utils.seeding import generator
from ncfm.networks import create_network
from ncfm.results.files import append_rows, code_version, command_line, today


@dataclass(frozen=True)
class Way:
    """How a training step is computed."""

    precision: torch.dtype
    kernels: bool = False
    amx: bool = False  # by the matrix registers
    compiled: bool = False

    @property
    def here(self) -> bool:
        """Whether this machine can."""
        return not self.kernels or (kernels.multiplies_in(self.precision) and (not self.amx or kernels.use_amx(True)))


WAYS = {
    "PyTorch's operators": Way(torch.float32),
    "compiled, bfloat16": Way(torch.bfloat16, compiled=True),
    "kernels": Way(torch.float32, kernels=True),
    "kernels, bfloat16": Way(torch.bfloat16, kernels=True),
    "kernels, bfloat16 by AMX": Way(torch.bfloat16, kernels=True, amx=True),
}
NUM_CLASSES = 10


def main() -> None:
    """Time the ways in turns, print the table, append rows with seconds per image."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kernels", description=__doc__)
    parser.add_argument("--network", default="convnet3")
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--only", default=";".join(WAYS), help="ways, joined by semicolons; those that run here")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    options = parser.parse_args()
    keep_freed_memory()
    network = create_network(
        options.network, channels=3, num_classes=NUM_CLASSES, image_size=options.image_size, seed=0
    )
    images = torch.randn(options.batch, 3, options.image_size, options.image_size, generator=generator(0, "kernels"))
    ways = {name: WAYS[name] for name in options.only.split(";") if WAYS[name].here}
    compiled = torch.compile(network)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(options.repeats + 1):  # the first is the warm-up
        for name, way in ways.items():
            network.zero_grad()
            taken = seconds_per_image(compiled if way.compiled else network, images, way)
            if repeat:
                seconds[name].append(taken)
    reference = next(iter(seconds.values()))
    rows = [row_of(name, times, reference, options) for name, times in seconds.items()]
    table = Table("way", "ms / image", "spread", "ratio")
    for row in rows:
        spread = f"{1e3 * row.seconds_min:.2f} to {1e3 * row.seconds_max:.2f}"
        table.add_row(row.implementation, f"{1e3 * row.seconds_median:.2f}", spread, f"{row.ratio_to_reference:.2f}")
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


def seconds_per_image(network: Callable[[Tensor], Tensor], images: Tensor, way: Way) -> float:
    """CPU seconds, of all threads, of one training step's forward and backward pass, per image."""
    labels = torch.arange(len(images)) % NUM_CLASSES
    kernels.enable(way.kernels)
    kernels.use_amx(way.amx)
    began = time.process_time()
    with torch.autocast("cpu", dtype=way.precision, enabled=way.precision != torch.float32):
        loss = F.cross_entropy(network(images), labels)
    loss.backward()
    taken = time.process_time() - began
    kernels.enable(True)
    kernels.use_amx(True)
    return taken / len(images)


def row_of(name: str, times: list[float], reference: list[float], options: argparse.Namespace) -> CostRow:
    """A row of seconds per image; its real batch is the number of images of a step."""
    return CostRow(
        benchmark=f"kernels:{options.network}",
        implementation=name,
        dataset="random",
        ipc=0,
        real_batch_per_class=options.batch,
        num_frequencies=0,
        image_size=options.image_size,
        num_classes=NUM_CLASSES,
        seconds_median=statistics.median(times),
        seconds_min=min(times),
        seconds_max=max(times),
        peak_memory_mb=peak_memory_mb(torch.device("cpu")),
        ratio_to_reference=statistics.median(reference) / statistics.median(times),
        device=describe_device(torch.device("cpu")),
        threads=torch.get_num_threads(),
        command=command_line(),
        commit=code_version(),
        date=today(),
    )


if __name__ == "__main__":
    main()
