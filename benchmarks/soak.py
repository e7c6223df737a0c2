"""`python -m benchmarks.soak`: two hours of one process, and whether its memory and its open files stay as they were.

The command `ncfm distill` runs as it is, with everything that it does beside computing: checkpoints, metrics, film,
diagnosis, a logger. Once a minute its resident memory, open files and threads are read from /proc (so: on Linux).

It has stayed flat if, over the iterations after the warm-up, the last quarter's median of memory is less than 2 % above
that of the first quarter, and the last quarter has no more open files than the first one had.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from ncfm.report.results import Conditions, append_rows
from ncfm.report.rows import SoakRow

GROWTH = 0.02  # of memory, that passes for none
WARM_UP = 0.1  # share of the samples with iterations: allocators fill their caches there
PROC = Path("/proc")


@dataclass(frozen=True)
class Sample:
    """What a process held at a moment."""

    minutes: float  # since it began
    iteration: int  # of distilling, at the last checkpoint; 0 before the first
    resident_mb: float
    open_files: int
    process_threads: int


def look(pid: int, minutes: float, run: Path) -> Sample | None:
    """What a process holds now; None if it has ended."""
    try:
        status = dict(line.split(":", 1) for line in (PROC / str(pid) / "status").read_text().splitlines())
        open_files = len(list((PROC / str(pid) / "fd").iterdir()))
        resident = int(status["VmRSS"].split()[0]) / 1024
    except (OSError, KeyError):
        return None
    return Sample(minutes, last_iteration(run), resident, open_files, int(status["Threads"]))


def last_iteration(run: Path) -> int:
    """Of the metrics as they were last written."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return int(json.loads(lines[-1])["iteration"]) if lines else 0


def watch(process: subprocess.Popen[bytes], run: Path, every: float) -> list[Sample]:
    """Look at a process until it ends."""
    began, samples = time.perf_counter(), list[Sample]()
    while process.poll() is None:
        sample = look(process.pid, (time.perf_counter() - began) / 60, run)
        if sample is not None:
            samples.append(sample)
        try:
            process.wait(every)
        except subprocess.TimeoutExpired:
            continue
    return samples


@dataclass(frozen=True)
class Verdict:
    """Whether a process stayed as it was, over its iterations after the warm-up."""

    growth: float  # of the median of resident memory, last quarter over first, less 1
    mb_per_hour: float  # least-squares slope
    open_files: tuple[int, int]  # at most, in the first and the last quarter
    minutes: float

    @property
    def is_flat(self) -> bool:
        """Neither memory nor open files have grown."""
        return self.growth < GROWTH and self.open_files[1] <= self.open_files[0]


def judge(samples: list[Sample]) -> Verdict:
    """Compare the first with the last quarter of the samples taken while it distilled.

    Raises:
        ValueError: for fewer than eight such samples.
    """
    during = [sample for sample in samples if sample.iteration > 0]
    if during:
        last = max(sample.iteration for sample in during)
        during = [sample for sample in during if sample.iteration < last]  # what follows is not iterations
    during = during[int(WARM_UP * len(during)) :]
    if len(during) < 8:
        raise ValueError(f"{len(during)} samples of iterations are too few to tell.")
    quarter = len(during) // 4
    first, end = during[:quarter], during[-quarter:]
    medians = [statistics.median(sample.resident_mb for sample in part) for part in (first, end)]
    hours = [sample.minutes / 60 for sample in during]
    slope = statistics.linear_regression(hours, [sample.resident_mb for sample in during]).slope
    files = [max(sample.open_files for sample in part) for part in (first, end)]
    return Verdict(medians[1] / medians[0] - 1, slope, (files[0], files[1]), 60 * (hours[-1] - hours[0]))


def rows_of(samples: list[Sample]) -> list[SoakRow]:
    """For `results/soak.csv`."""
    conditions = asdict(Conditions.here(torch.device("cpu")))
    del conditions["peak_memory_mb"]
    return [SoakRow(**asdict(sample), **conditions) for sample in samples]


def draw(rows: list[SoakRow], path: Path) -> None:
    """Memory, open files and iterations over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    hours = [row.minutes / 60 for row in rows]
    curves = (
        ("resident memory, MiB", [row.resident_mb for row in rows]),
        ("open files", [row.open_files for row in rows]),
        ("threads", [row.process_threads for row in rows]),
        ("iteration", [row.iteration for row in rows]),
    )
    figure, axes = pyplot.subplots(len(curves), 1, figsize=(7.2, 7.2), sharex=True)
    for axis, (label, values) in zip(axes, curves, strict=True):
        axis.plot(hours, values, color="#1f5fa8", drawstyle="steps-post" if label != "iteration" else "default")
        axis.set_ylim(0, 1.15 * max(max(values), 1))
        axis.set_ylabel(label)
        axis.grid(True, alpha=0.25)
    axes[-1].set_xlabel("hours")
    figure.suptitle(f"One process, {rows[0].device}, {rows[0].threads} thread" + "s" * (rows[0].threads > 1))
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def main() -> int:
    """Run, watch, judge, draw, append rows; 1 if it did not stay flat, or failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, help="of distilling; teachers and students come on top")
    parser.add_argument("--every", type=float, default=60.0, metavar="SECONDS", help="between two looks")
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--results", type=Path, help="append rows to this file (results/soak.csv)")
    parser.add_argument("--plot", type=Path, help="write the curves to this PNG")
    options = parser.parse_args()
    if options.out.exists():
        shutil.rmtree(options.out)
    settings = [f"distill.seconds={60 * options.minutes}", "machine.diagnose_every=20", *options.settings]
    command = [sys.executable, "-m", "ncfm", "distill", options.data, "--ipc", str(options.ipc)]
    command += ["--out", str(options.out), *(part for setting in settings for part in ("--set", setting))]
    process = subprocess.Popen(command)
    try:
        samples = watch(process, options.out, options.every)
    finally:
        process.terminate()
        process.wait()
    rows = rows_of(samples)
    if options.results and rows:
        append_rows(options.results, rows)
    if options.plot and rows:
        draw(rows, options.plot)
    if process.returncode:
        Console(stderr=True).print(f"The run ended with {process.returncode}.")
        return 1
    verdict = judge(samples)
    table = Table("minutes of iterations", "growth of memory", "MiB an hour", "open files", "flat")
    table.add_row(
        f"{verdict.minutes:.1f}",
        f"{verdict.growth:+.2%}",
        f"{verdict.mb_per_hour:+.1f}",
        " to ".join(map(str, verdict.open_files)),
        "yes" if verdict.is_flat else "NO",
    )
    Console().print(table)
    return 0 if verdict.is_flat else 1


if __name__ == "__main__":
    raise SystemExit(main())
