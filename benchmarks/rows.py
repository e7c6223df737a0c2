"""`python -m benchmarks.rows`: how long the rows of `ncfm reproduce` that have not been run would take on this machine.

Their data may not be here, and they may take days. So their steps are timed (`ncfm.plan`) on images of noise of their
size, ten classes with as many images each as theirs, and at most 256 real images a class. What an iteration, an epoch
of a teacher or of a student takes grows with classes and with real images along a line (docs/explanation/speed.md,
*Growth*): with classes in proportion, with real images by the slope from 64 to 256.

Rows that the file has of this machine are not timed again, nor are those that take as long as one of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.records import PlannedRow
from ncfm._utils.device import choose_device
from ncfm._utils.seeding import generator
from ncfm.config.resolve import resolve_config
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.named import NAMED_SETS, SUBSETS, whole_size
from ncfm.results.files import Conditions, append_rows, read_rows
from ncfm.workflows.plan import Plan, plan
from ncfm.workflows.rows import Row, committed_row, rows

CLASSES = {"cifar100": 100, "tiny-imagenet": 200, "imagenet-1k": 1000}  # others have ten
TIMED_CLASSES = 10
TIMED_REAL = (64, 256)  # real images a class: far apart, since the error of a slope is carried as far as 1024
SUBSET_SIZE = 13_000  # training images of ten classes of ImageNet, where they have not been counted


@dataclass(frozen=True)
class Shape:
    """What of a data set decides how long a row takes."""

    num_classes: int
    per_class: int  # training images
    image_size: int
    channels: int

    @classmethod
    def of(cls, data: str) -> Shape:
        """Of a data set with a name."""
        named = SUBSETS.get(data) or NAMED_SETS[data]
        num_classes = CLASSES.get(data, 10)
        per_class = (whole_size(data) or SUBSET_SIZE) // num_classes
        assert named.image_size is not None  # of every set that has rows
        assert named.channels is not None
        return cls(num_classes, per_class, named.image_size, named.channels)

    def images(self, name: str) -> ImageSet:
        """Noise of this shape, of ten classes at most."""
        count = min(self.num_classes, TIMED_CLASSES)

        def split(per_class: int) -> ImageSplit:
            shape = (count * per_class, self.channels, self.image_size, self.image_size)
            pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator(0, "noise"))
            return ImageSplit.of(pixels, torch.arange(len(pixels)) % count, count)

        return ImageSet(name, split(self.per_class), split(100), tuple(map(str, range(count))))


def predict(row: Row, threads: int) -> PlannedRow:
    """Time the row's steps, and multiply."""
    shape = Shape.of(row.data)
    images = shape.images(row.data)
    config = resolve_config(row.data, row.ipc, row.name, None, None)
    real = min(config.distill.real_batch_per_class, shape.per_class)
    more = shape.num_classes / images.num_classes  # times as many classes

    def planned(real_batch: int) -> Plan:
        changes = {"distill.real_batch_per_class": real_batch, "machine.threads": threads}
        return plan(images, ipc=row.ipc, recipe=row.name, settings=changes, steps=2)

    timed = min(real, TIMED_REAL[1])
    found = planned(timed)
    seconds = {stage.name: stage.seconds_per_unit * more for stage in found.stages}
    if real > timed:
        fewer = {stage.name: stage.seconds_per_unit * more for stage in planned(TIMED_REAL[0]).stages}
        slope = (seconds["distilling"] - fewer["distilling"]) / (TIMED_REAL[1] - TIMED_REAL[0])
        seconds["distilling"] += max(slope, 0.0) * (real - timed)
    epochs = {stage.name: stage.units for stage in found.stages}["students"]  # of all students
    conditions = asdict(Conditions.here(choose_device()))
    del conditions["peak_memory_mb"]
    return PlannedRow(
        row=row.name,
        training_images=shape.num_classes * shape.per_class,
        teacher_seconds=seconds["teachers"] * config.teachers.number * config.teachers.epochs,
        distill_seconds=seconds["distilling"] * config.distill.iterations,
        evaluate_seconds=seconds["students"] * epochs,
        **conditions,
    )


def known(path: Path, threads: int) -> dict[tuple[Any, ...], PlannedRow]:
    """What the file has of this machine and so many threads, by key."""
    here = {"device": Conditions.here(choose_device()).device, "threads": str(threads)}
    told = {row["row"]: row for row in read_rows(path) if row.items() >= here.items()} if path.is_file() else {}
    return {key_of(row): _typed(told[row.name]) for row in rows() if row.name in told}


def _typed(cells: Mapping[str, str]) -> PlannedRow:
    """A row from its cells."""
    types = {"int": int, "float": float, "str": str}
    return PlannedRow(**{f.name: types[str(f.type)](cells[f.name]) for f in fields(PlannedRow)})


def key_of(row: Row) -> tuple[Any, ...]:
    """Rows of one key take as long: subsets of ImageNet differ in nothing that counts here."""
    settings = resolve_config(row.data, row.ipc, row.name, None, None).model_dump_json()
    return "subset" if row.data in SUBSETS else row.data, row.ipc, settings


def main() -> None:
    """Predict every row that is not committed; print the table, append the rows as they come."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rows", description=__doc__)
    parser.add_argument("--only", default="", help="rows whose name begins so")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/planned.csv)")
    options = parser.parse_args()
    table = Table("row", "teachers", "distilling", "students", "together, hours")
    found = known(options.results, options.threads) if options.results else {}
    for row in rows():
        if committed_row(row.name) or row.data not in {*NAMED_SETS, *SUBSETS} or not row.name.startswith(options.only):
            continue
        key = key_of(row)
        if key not in found:
            found[key] = predict(row, options.threads)
        made = replace(found[key], row=row.name)
        if options.results:
            append_rows(options.results, [made])
        seconds = (made.teacher_seconds, made.distill_seconds, made.evaluate_seconds)
        table.add_row(row.name, *(f"{value / 3600:.1f}" for value in (*seconds, sum(seconds))))
    Console().print(table)


if __name__ == "__main__":
    main()
