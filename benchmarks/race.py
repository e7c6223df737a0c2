"""Iterations of several players, timed in turns.

Every player lives in a process of its own, so that its peak memory is its own; the processes take turns, an iteration
each, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from benchmarks.players import player
from benchmarks.problem import Problem
from ncfm._utils.device import choose_device, describe_device, measure_peak_memory, peak_memory_mb


@dataclass
class Timings:
    """What was measured of one implementation."""

    seconds: list[float]
    peak_memory_mb: float
    device: str
    threads: int
    cpu_seconds: list[float] | None = None
    iteration_memory_mb: float | None = None  # above what the process held before the iteration

    @property
    def median(self) -> float:
        """Of the timed iterations."""
        return statistics.median(self.seconds)

    @property
    def cpu_median(self) -> float | None:
        """CPU seconds of all threads, which hardly depend on what else the machine does."""
        return statistics.median(self.cpu_seconds) if self.cpu_seconds else None


class _Enough(Exception):
    pass


def _work(name: str, problem: Problem, pipe) -> None:
    """A worker: plays one iteration whenever it is told to."""
    began, device = (0.0, 0.0), choose_device(problem.device)

    def turn() -> None:
        pipe.send(("played", time.perf_counter() - began[0], time.process_time() - began[1], memory()))
        _wait()

    def _wait() -> None:
        nonlocal began, memory
        order = pipe.recv()
        if order == "stop":
            raise _Enough
        memory = measure_peak_memory(device) if order == "measure memory" else (lambda: 0.0)
        began = time.perf_counter(), time.process_time()

    memory: Callable[[], float]
    try:
        _wait()
        player(name)(problem, turn)
    except _Enough:
        pipe.send(("memory", peak_memory_mb(device), describe_device(device), torch.get_num_threads()))
    except BaseException as error:  # the parent tells of it
        pipe.send(("failed", f"{type(error).__name__}: {error}"))


def race(problem: Problem, names: list[str], *, repeats: int, warm_up: int = 1) -> dict[str, Timings]:
    """Time an iteration of each implementation, in turns, after a warm-up that is not counted.

    One more iteration measures memory: it begins with all freed memory returned to the system, which takes time.
    """
    context = multiprocessing.get_context("spawn")
    workers = {}
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=_work, args=(name, problem, there), daemon=True)
        process.start()
        workers[name] = (here, process)
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in names}
    orders = ["play"] * (warm_up + repeats) + ["measure memory"]
    for order in orders:
        for name, (pipe, _) in workers.items():
            pipe.send(order)
            kind, *measured = pipe.recv()
            if kind == "failed":
                raise SystemExit(f"{name} failed on {problem}: {measured[0]}")
            found[name].append(tuple(measured))
    timings = {}
    for name, (pipe, process) in workers.items():
        pipe.send("stop")
        timed = found[name][warm_up:-1]
        seconds, cpu_seconds = ([played[place] for played in timed] for place in (0, 1))
        timings[name] = Timings(seconds, *pipe.recv()[1:], cpu_seconds, found[name][-1][2])
        process.join()
    return timings
