"""`python -m benchmarks.profile`: what `ncfm plan --profile` measures, as rows of ``results/profile.csv``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.records import ProfileRow
from ncfm.config.keys import parse_setting
from ncfm.results.files import append_rows, code_version, command_line, today
from ncfm.workflows.profile import Profile, StageCost, profile

ALL = "all"  # stages


def main() -> None:
    """Profile the point asked for, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile", description=__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--point", default="64x1024", help="real images per class x frequencies")
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="as in ncfm plan")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/profile.csv)")
    options = parser.parse_args()
    real, frequencies = (int(number) for number in options.point.split("x"))
    settings = {
        "distill.real_batch_per_class": real,
        "frequencies.number": frequencies,
        **dict(map(parse_setting, options.set)),
    }
    found = profile(options.dataset, ipc=options.ipc, settings=settings, steps=options.steps)
    rows = list(rows_of(found, options.dataset, options.ipc, real, frequencies))
    table = Table("unit", "stage", found.clock, "share", "GFLOP", "of ceiling")
    for row in rows:
        ceiling = "-" if row.share_of_ceiling is None else f"{row.share_of_ceiling:.2f}"
        table.add_row(row.unit, row.stage, f"{row.seconds:.3g}", f"{row.share:.2f}", f"{row.gflop:.3g}", ceiling)
    Console().print(table)
    if options.results:
        append_rows(options.results, rows)


def rows_of(found: Profile, dataset: str, ipc: int, real: int, frequencies: int) -> Iterator[ProfileRow]:
    """A row for every stage, and one for every unit as a whole."""
    for unit in dict.fromkeys(stage.unit for stage in found.stages):
        own = [stage for stage in found.stages if stage.unit == unit]
        whole = StageCost(unit, ALL, found.seconds(unit), sum(stage.operations for stage in own), 1.0, 0.0)
        for stage in (*own, whole):
            yield ProfileRow(
                dataset=dataset,
                ipc=ipc,
                real_batch_per_class=real,
                num_frequencies=frequencies,
                unit=unit,
                stage=stage.name,
                seconds=stage.seconds,
                clock=found.clock,
                share=stage.share,
                gflop=stage.operations / 1e9,
                share_of_ceiling=stage.share_of_ceiling if stage.operations and stage is not whole else None,
                ceiling_float32=found.rates["float32"] / 1e9,
                ceiling_precision=found.rates[found.precision] / 1e9,
                precision=found.precision,
                training_images=found.training_images,
                device=found.device,
                threads=found.threads,
                command=command_line(),
                commit=code_version(),
                date=today(),
            )


if __name__ == "__main__":
    main()
