"""`python -m benchmarks.soak`: two hours of one process, and whether its memory and its open files stay as they were.

The command `ncfm distill` runs as it is, with everything that it does beside computing: checkpoints, metrics, film,
diagnosis, a logger. Its resident memory, open files and threads are read from /proc (so: on Linux) far more often than
it takes a step, because a step swings between the memory of a pass and that between two passes; what is kept is the
peak, the floor and the mean of every minute.

It has stayed flat if, over the iterations after the warm-up, the peaks and the means of the last quarter are less than
2 % above those of the first quarter, by their medians, and the last quarter has no more open files than the first one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.records import SoakRow
from ncfm._utils.progress import counted
from ncfm.results.figures import COLORS, QUIET, name_panel, new_figure, save_figure
from ncfm.results.files import Conditions, append_rows

GROWTH = 0.02  # of memory, that passes for none
WARM_UP = 0.1  # share of the windows with iterations: allocators fill their caches there
FEWEST = 8  # windows of iterations to judge by
PROC = Path("/proc")


@dataclass(frozen=True)
class Look:
    """What a process held at a moment."""

    resident_mb: float
    open_files: int
    process_threads: int


@dataclass(frozen=True)
class Window:
    """What a process held over a minute."""

    minutes: float  # since it began, at the end of the window
    iteration: int  # of distilling, as last written to the metrics; 0 before the first
    looks: int
    peak_mb: float
    mean_mb: float
    floor_mb: float
    open_files: int  # at most
    process_threads: int  # at most

    @classmethod
    def of(cls, looks: list[Look], minutes: float, iteration: int) -> Self:
        """Sum up the looks of a window."""
        resident = [look.resident_mb for look in looks]
        return cls(
            minutes,
            iteration,
            len(looks),
            max(resident),
            statistics.fmean(resident),
            min(resident),
            max(look.open_files for look in looks),
            max(look.process_threads for look in looks),
        )


def look(pid: int) -> Look | None:
    """What a process holds now; None if it has ended."""
    try:
        status = dict(line.split(":", 1) for line in (PROC / str(pid) / "status").read_text().splitlines())
        open_files = len(list((PROC / str(pid) / "fd").iterdir()))
        resident = int(status["VmRSS"].split()[0]) / 1024
    except (OSError, KeyError):
        return None
    return Look(resident, open_files, int(status["Threads"]))


def last_iteration(run: Path) -> int:
    """Of the metrics as they were last written."""
    path = run / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.is_file() else []
    return int(json.loads(lines[-1])["iteration"]) if lines else 0


def watch(process: subprocess.Popen[bytes], run: Path, every: float, window: float) -> list[Window]:
    """Look at a process every so many seconds until it ends; a window that its end cuts short is left out."""
    began = ended = time.perf_counter()
    looks, windows = list[Look](), list[Window]()
    while process.poll() is None:
        seen = look(process.pid)
        if seen is not None:
            looks.append(seen)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(every)
        now = time.perf_counter()
        if now - ended >= window and looks:
            windows.append(Window.of(looks, (now - began) / 60, last_iteration(run)))
            looks, ended = [], now
    return windows


@dataclass(frozen=True)
class Verdict:
    """Whether a process stayed as it was, over its iterations after the warm-up."""

    peak_growth: float  # of resident memory: median of the last quarter over that of the first, less 1
    mean_growth: float
    mb_per_hour: float  # least-squares slope of the means
    open_files: tuple[int, int]  # at most, in the first and the last quarter
    minutes: float

    @property
    def is_flat(self) -> bool:
        """Neither memory nor open files have grown."""
        return max(self.peak_growth, self.mean_growth) < GROWTH and self.open_files[1] <= self.open_files[0]


def judge(windows: list[Window]) -> Verdict:
    """Compare the first with the last quarter of the windows in which it distilled.

    Raises:
        ValueError: for fewer than eight such windows.
    """
    during = [window for window in windows if window.iteration > 0]
    if during:
        last = max(window.iteration for window in during)
        during = [window for window in during if window.iteration < last]  # what follows is not iterations
    during = during[int(WARM_UP * len(during)) :]
    if len(during) < FEWEST:
        raise ValueError(f"{len(during)} windows of iterations are too few to tell; {FEWEST} are needed.")
    quarter = len(during) // 4
    first, end = during[:quarter], during[-quarter:]

    def growth(values: Callable[[Window], float]) -> float:
        return statistics.median(map(values, end)) / statistics.median(map(values, first)) - 1

    hours = [window.minutes / 60 for window in during]
    return Verdict(
        growth(lambda window: window.peak_mb),
        growth(lambda window: window.mean_mb),
        statistics.linear_regression(hours, [window.mean_mb for window in during]).slope,
        (max(window.open_files for window in first), max(window.open_files for window in end)),
        60 * (hours[-1] - hours[0]),
    )


def rows_of(windows: list[Window]) -> list[SoakRow]:
    """For `results/soak.csv`."""
    conditions = asdict(Conditions.here(torch.device("cpu")))
    del conditions["peak_memory_mb"]
    return [SoakRow(**asdict(window), **conditions) for window in windows]


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Memory, open files, threads and iterations over time, from rows of `SoakRow` as mappings."""
    hours = [float(row["minutes"]) / 60 for row in rows]

    def column(name: str) -> list[float]:
        return [float(row[name]) for row in rows]

    figure, axes = new_figure(4, height=1.5, sharex=True)
    axes[0].fill_between(hours, column("floor_mb"), column("peak_mb"), color=QUIET, linewidth=1)
    axes[0].plot(hours, column("mean_mb"), color=COLORS[0])
    axes[1].plot(hours, column("open_files"), color=COLORS[0], drawstyle="steps-post")
    axes[2].plot(hours, column("process_threads"), color=COLORS[0], drawstyle="steps-post")
    axes[3].plot(hours, column("iteration"), color=COLORS[0])
    names = ("memory, MiB: mean of a minute, lowest to highest", "open files", "threads", "iteration")
    for axis, name in zip(axes, names, strict=True):
        axis.set_ylim(0, 1.15 * max(axis.get_ylim()[1], 1))
        axis.locator_params(axis="y", nbins=4, integer=True)
        name_panel(axis, name)
    axes[-1].set_xlabel("hours")
    threads = int(rows[0]["threads"])
    save_figure(figure, path, f"One process, {rows[0]['device']}, {counted(threads, 'thread')}")


def main() -> int:
    """Run, watch, judge, draw, append rows; 1 if it did not stay flat, or failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=120.0, help="of distilling; teachers and students come on top")
    parser.add_argument("--every", type=float, default=0.5, metavar="SECONDS", help="between two looks")
    parser.add_argument("--window", type=float, default=60.0, metavar="SECONDS", help="summed up in a row")
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
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the run below does not outlive this program
    process = subprocess.Popen(command)
    try:
        windows = watch(process, options.out, options.every, options.window)
    finally:
        process.terminate()
        process.wait()
    rows = rows_of(windows)
    if options.results and rows:
        append_rows(options.results, rows)
    if options.plot and rows:
        draw([asdict(row) for row in rows], options.plot)
    if process.returncode:
        Console(stderr=True).print(f"The run ended with {process.returncode}.")
        return 1
    try:
        verdict = judge(windows)
    except ValueError as error:
        Console(stderr=True).print(str(error))
        return 1
    table = Table("minutes of iterations", "growth of peaks", "of means", "MiB an hour", "open files", "flat")
    table.add_row(
        f"{verdict.minutes:.1f}",
        f"{verdict.peak_growth:+.2%}",
        f"{verdict.mean_growth:+.2%}",
        f"{verdict.mb_per_hour:+.1f}",
        " to ".join(map(str, verdict.open_files)),
        "yes" if verdict.is_flat else "NO",
    )
    Console().print(table)
    return 0 if verdict.is_flat else 1


if __name__ == "__main__":
    raise SystemExit(main())
