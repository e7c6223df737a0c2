"""`python -m benchmarks.teachers`: teachers trained in turn raced against stacked passes, on images of noise.

With ``--choose`` it writes how to train the teachers of a row on this machine, as settings: the fastest way, and as
many epochs as the given time allows.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.problem import Problem
from benchmarks.records import CostRow
from ncfm._utils.device import describe_device, peak_memory_mb
from ncfm.config.build import build_machine, build_teacher_recipe
from ncfm.config.resolve import resolve_config
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.results.files import append_rows, code_version, command_line, today
from ncfm.training.pretraining import pretrain


@dataclass(frozen=True)
class Way:
    """A way to train teachers: settings of the machine."""

    name: str
    teachers: str  # machine.teachers
    compiling: str  # machine.compile

    @property
    def settings(self) -> list[str]:
        """As options of a command."""
        return [f"machine.teachers={self.teachers}", f"machine.compile={self.compiling}"]


WAYS = (
    Way("in turn", "one by one", "off"),
    Way("side by side", "together", "off"),
    Way("in turn, compiled", "one by one", "auto"),
    Way("side by side, compiled", "together", "auto"),
)


def seconds_per_epoch(images: ImageSet, config: RunConfig, way: Way, count: int, repeats: int) -> float:
    """Median seconds of an epoch of all teachers. The first, which loads kernels and compiles, is not counted.

    In turn one of them is timed, as all take as long. An epoch ends with a read of the loss: the device is done.
    """
    machine = config.machine.model_copy(update={"teachers": way.teachers, "compile": way.compiling})
    timed = count if way.teachers == "together" else 1
    moments: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        pretrain(
            images,
            network=config.teachers.network,
            num_teachers=timed,
            recipe=replace(build_teacher_recipe(config), epochs=repeats + 1),
            compute=build_machine(machine, images.image_size),
            cache=Path(folder),
            on_epoch=lambda teacher, epoch: moments.append(time.perf_counter()),
        )
    return statistics.median(after - before for before, after in itertools.pairwise(moments)) * count / timed


def choose(found: dict[str, float], share: float, wanted: int, seconds: float) -> list[str]:
    """Settings of the fastest way, and of the epochs that fit into the time.

    Args:
        found: seconds of an epoch of all teachers, by way.
        share: of the real training images that those epochs had.
        wanted: epochs of the recipe.
        seconds: for all epochs of all teachers.
    """
    name = min(found, key=found.__getitem__)
    way = next(way for way in WAYS if way.name == name)
    epochs = min(max(int(seconds * share / found[name]), 1), wanted)
    return [*way.settings, *([] if epochs == wanted else [f"teachers.epochs={epochs}"])]


def cost_row(name: str, seconds: float, config: RunConfig, count: int, images: ImageSet, reference: float) -> CostRow:
    """A row for ``results/cost.csv``."""
    device = build_machine(config.machine, images.image_size).device
    return CostRow(
        benchmark=f"teachers:{count}, an epoch of {len(images.train)} images",
        implementation=name,
        dataset="random",
        ipc=0,
        real_batch_per_class=0,
        num_frequencies=0,
        image_size=images.image_size,
        num_classes=images.num_classes,
        seconds_median=seconds,
        seconds_min=seconds,
        seconds_max=seconds,
        peak_memory_mb=peak_memory_mb(device),
        ratio_to_reference=reference / seconds,
        device=describe_device(device),
        threads=torch.get_num_threads(),
        command=command_line(),
        commit=code_version(),
        date=today(),
    )


def main() -> None:
    """Time the ways, print the table, append rows, write the choice."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.teachers", description=__doc__)
    parser.add_argument("--row", default="cifar10-ipc10-paper", help="of `ncfm reproduce`, whose teachers are meant")
    parser.add_argument("--images", type=int, default=5120, help="of noise, of all classes together")
    parser.add_argument("--whole", type=int, default=50_000, help="training images of the row's data, for --choose")
    parser.add_argument("--repeats", type=int, default=2, help="timed epochs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--ways", default=";".join(way.name for way in WAYS), help="joined by semicolons")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="setting over the row's")
    parser.add_argument("--seconds", type=float, default=300.0, help="for all epochs of all teachers, for --choose")
    parser.add_argument("--choose", type=Path, help="write the settings of the fastest way to this file, one a line")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/cost.csv)")
    options = parser.parse_args()
    data, rest = options.row.split("-ipc")
    settings = {"machine.device": options.device} | dict(given.split("=", 1) for given in options.set)
    config = resolve_config(data, int(rest.split("-")[0]), options.row, settings, None)
    count = config.teachers.number
    images = Problem(dataset="random", real_batch_per_class=options.images // 20).images()
    ways = [way for way in WAYS if way.name in options.ways.split(";")]
    found: dict[str, float] = {}
    for way in ways:
        found[way.name] = seconds_per_epoch(images, config, way, count, options.repeats)
        if options.choose:  # now: the next way may be cut short
            chosen = choose(found, len(images.train) / options.whole, config.teachers.epochs, options.seconds)
            options.choose.write_text("\n".join(chosen) + "\n", encoding="utf-8")
    reference = next(iter(found.values()))
    table = Table("teachers", "way", f"s / epoch of {len(images.train)} images", "ratio")
    for name, seconds in found.items():
        table.add_row(str(count), name, f"{seconds:.3f}", f"{reference / seconds:.2f}")
    Console().print(table)
    if options.results:
        rows = [cost_row(name, value, config, count, images, reference) for name, value in found.items()]
        append_rows(options.results, rows)


if __name__ == "__main__":
    main()
