"""`python -m benchmarks.ranks`: whether several ranks come to what one process comes to, and how much faster.

Equality: a few iterations on the digits (10 classes, which 3 and 4 ranks share unevenly) by 1, 2, 3 and 4 ranks. They
make the same draws and sum the adversary's gradient in another order, so the images agree up to rounding; how far
rounding leads shows one process whose teachers' weights differ in their last bit. Two
runs with as many ranks agree to the bit.

Speed (``--scaling``): an iteration on images of noise, classes shared by 1 and by as many ranks as there are cores, a
thread each; in turns, so that whatever else the machine does meets both alike. Beside it what does not get shorter with
ranks: the random numbers of all classes of ImageNet-1K, which each draws, and the message in which gradients meet.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import multiprocessing
import os
import pickle
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.problem import FOREVER, Problem
from benchmarks.records import DRAWS, MESSAGE, RankRow
from ncfm._utils.device import PRECISIONS
from ncfm._utils.distributed import Ranks
from ncfm._utils.seeding import generator
from ncfm.config.build import build_data, build_machine
from ncfm.config.distribution_matching import run_distillation
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.data.augment import SiameseAugment
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.discrepancy.frequencies import ScaleMixtureFrequencies
from ncfm.distillation.control import RunControl
from ncfm.results.files import Conditions, append_rows
from ncfm.training.teachers import Teacher, TeacherPool, Weights, network_for

CASES: dict[str, dict[str, Any]] = {
    "ncfm": {},
    "two moves of each player": {"distill.ascent_steps": 2, "distill.descent_steps": 2},
    "BatchNorm": {"teachers.network": "convnet1w8-batch"},
    "a sampler per teacher, halves": {"frequencies.per_teacher": True, "frequencies.criterion": "halves"},
    "dsdm (a memory)": {"objective.name": "dsdm"},
}
NUM_FEATURES = 2048  # of ConvNet-4 of width 128 on 64 px
AUGMENT = "color_crop_cutout_flip_scale_rotate"
ALLOWED = 1e-4  # difference that is never too much; else ten times that of rounding
SETTINGS: dict[str, Any] = {
    "teachers.network": "convnet1w8",
    "frequencies.number": 64,
    "distill.real_batch_per_class": 8,
    "machine.threads": 1,
    "machine.compile": "off",
}


def play(settings: dict[str, Any], iterations: int, *, nudged: bool = False) -> tuple[Tensor, bool]:
    """All images after some iterations on the digits; and whether all ranks have the same adversary, to the bit."""
    changed = {"distill.iterations": iterations} | settings
    config = make_config(nest(SETTINGS | changed))
    images = _digits()
    machine = build_machine(config.machine, images.image_size)
    pool = _pool(images, config.teachers.network, 1 + 2**-23 if nudged else 1.0)
    with tempfile.TemporaryDirectory() as folder:
        result = run_distillation(
            images, pool, config, machine, ipc=2, control=RunControl(folder=Path(folder), log_every=1)
        )
    told = machine.ranks.gather_objects(result.history[-1]["discrepancy"])
    return result.synthetic.images, len(set(told)) == 1


@functools.cache
def _digits() -> ImageSet:
    """Read once, before the ranks are forked."""
    return build_data("digits", make_config(nest(SETTINGS)))


def _pool(images: ImageSet, network: str, factor: float) -> TeacherPool:
    """Two teachers of random weights, times a factor."""

    def weights(seed: int) -> Weights:
        state = network_for(images, network, seed=seed).state_dict()
        return {name: value * factor if value.is_floating_point() else value for name, value in state.items()}

    return TeacherPool(
        [Teacher(weights(2 * i), weights(2 * i + 1), 0.0) for i in range(2)],
        lambda seed: network_for(images, network, seed=seed),
        statistics=images.statistics,
        device=torch.device("cpu"),
    )


def together(count: int, work: Callable[..., Any], *arguments: Any) -> Any:
    """What the first of some ranks, processes forked from this one, gives back.

    One rank is forked, too: this process must not compile anything, since the compiler's helpers do not survive a fork.

    Raises:
        RuntimeError: if one fails.
    """
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:

        def join(rank: int) -> None:
            torch.set_num_threads(1)
            if count > 1:
                dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=count)
            given = work(*arguments)
            if rank == 0:
                there.send_bytes(pickle.dumps(given))  # send() shares memory that ends with this process
            if count > 1:
                dist.destroy_process_group()

        processes = [context.Process(target=join, args=(rank,), daemon=True) for rank in range(count)]
        for process in processes:
            process.start()
        while not here.poll(0.1):
            if any(process.exitcode for process in processes):
                raise RuntimeError(f"a rank of {count} ended with {[p.exitcode for p in processes]}")
        given = pickle.loads(here.recv_bytes())
        for process in processes:
            process.join()
    return given


def play_all(plays: list[tuple[dict[str, Any], int]], *, nudged: bool = False) -> list[tuple[Tensor, bool]]:
    """Several runs one after another, by the same ranks: starting ranks takes longer than a few iterations."""
    return [play(settings, iterations, nudged=nudged) for settings, iterations in plays]


def compare(counts: list[int], iterations: int, precision: str) -> list[RankRow]:
    """How far the images of so many ranks are from those of one process, for every case, after 1 and all iterations."""
    conditions = asdict(Conditions.here(torch.device("cpu")))
    del conditions["peak_memory_mb"]
    named = [(name, n) for name in CASES for n in (1, iterations)]
    plays = [(CASES[name] | {"machine.precision": precision}, n) for name, n in named]
    alone, rounded = play_all(plays), play_all(plays, nudged=True)
    shared = {count: [together(count, play_all, plays) for _ in range(2)] for count in counts}
    rows = []
    for i, (name, n) in enumerate(named):
        by_rounding = (rounded[i][0] - alone[i][0]).abs()
        for count, (first, again) in shared.items():
            (images, same_adversary), (images_again, _) = first[i], again[i]
            difference = (images - alone[i][0]).abs()
            rows.append(
                RankRow(
                    case=name if precision == "float32" else f"{name}, {precision}",
                    ranks=count,
                    iterations=n,
                    difference_max=float(difference.max()),
                    difference_mean=float(difference.mean()),
                    rounding_max=float(by_rounding.max()),
                    rounding_mean=float(by_rounding.mean()),
                    same_twice=torch.equal(images, images_again) and same_adversary,
                    seconds_median=None,
                    speedup=None,
                    **conditions,
                )
            )
    return rows


def seconds_of(problem: Problem, iterations: int) -> list[float]:
    """Times of iterations of a problem, after one that is not counted."""
    config, images = problem.config(), problem.images()
    machine = build_machine(config.machine, images.image_size)
    pool = problem.pool(images, machine.device, machine.compile_networks)
    config = config.model_copy(update={"distill": replace(config.distill, iterations=iterations + 1, init="real")})
    moments: list[float] = []

    def after(iteration: int, metrics: dict[str, float]) -> None:
        if machine.device.type == "cuda":
            torch.cuda.synchronize()
        moments.append(time.perf_counter())

    run_distillation(
        images, pool, config, machine, ipc=problem.ipc, control=RunControl(log_every=FOREVER, on_iteration=after)
    )
    return [after - before for before, after in itertools.pairwise(moments)]


def scale(problem: Problem, counts: list[int], repeats: int) -> list[RankRow]:
    """Time an iteration by so many ranks, in turns."""
    conditions = asdict(Conditions.here(torch.device("cpu")))
    del conditions["peak_memory_mb"]
    found: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(repeats):
        for count in counts:
            found[count] += together(count, seconds_of, problem, 2)
    one = statistics.median(found[counts[0]])
    return [
        RankRow(
            case=f"{problem.num_classes} classes, {problem.image_size} px, IPC {problem.ipc}, width {problem.width}, "
            f"{problem.real_batch_per_class} real images, {problem.num_frequencies} frequencies",
            ranks=count,
            iterations=len(times),
            difference_max=None,
            difference_mean=None,
            rounding_max=None,
            rounding_mean=None,
            same_twice=None,
            seconds_median=statistics.median(times),
            speedup=one / statistics.median(times),
            **conditions,
        )
        for count, times in found.items()
    ]


def measure_overheads(count: int) -> list[RankRow]:
    """What an iteration on ImageNet-1K costs however many ranks share it: each rank's draws, and the message."""
    conditions = asdict(Conditions.here(torch.device("cpu")))
    del conditions["peak_memory_mb"]
    numbers = sum(p.numel() for p in sampler_of(NUM_FEATURES).parameters())
    return [
        RankRow(case, ranks, 50, None, None, None, None, None, seconds, None, **conditions)
        for case, ranks, seconds in (
            (DRAWS, 1, draw_seconds()),
            (f"{MESSAGE} ({numbers:,} numbers)", count, together(count, message_seconds, numbers)),
        )
    ]


def sampler_of(num_features: int) -> ScaleMixtureFrequencies:
    """The adversary of the default recipe."""
    return ScaleMixtureFrequencies(num_features, 1024, seed_generator=generator(0, "adversary"))


def draw_seconds(repeats: int = 50) -> float:
    """Median time of the random numbers of an iteration for all classes of ImageNet-1K: batches, augmentation,
    frequencies."""
    counts = torch.full((1000,), 1281)
    split = ImageSplit(torch.empty(0), torch.empty(0), counts, counts.cumsum(0) - counts)
    rng, sampler, augment = generator(0, "draws"), sampler_of(NUM_FEATURES), SiameseAugment(AUGMENT)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        draw_class_batches(split, 64, rng)
        augment.draw(1000, 64, rng)
        with torch.no_grad():
            sampler.sample(rng)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def message_seconds(numbers: int, repeats: int = 50) -> float:
    """Median time of a sum over ranks of so many float32 numbers."""
    ranks, numbers_of = Ranks.here(), torch.randn(numbers)
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        ranks.sum([numbers_of])
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> int:
    """Compare, time, print, append rows; 1 if the images of ranks are further away than rounding takes them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ranks", description=__doc__)
    parser.add_argument("--iterations", type=int, default=30, help="of the comparison; and one of 1")
    parser.add_argument("--ranks", default="2,3,4")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="of real features, when comparing")
    parser.add_argument("--scaling", action="store_true", help="time instead of comparing")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/ranks.csv)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.scaling:
        cores = len(os.sched_getaffinity(0))
        base = Problem(dataset="random", real_batch_per_class=16, num_frequencies=1024, device="cpu")
        points = [
            replace(base, ipc=10, real_batch_per_class=64),
            replace(base, num_classes=100, ipc=1),
            replace(base, ipc=10, real_batch_per_class=64, image_size=64),  # of which ImageNet-1K has a hundred
            replace(base, num_classes=1000, ipc=1, factor=1, image_size=32, width=32),
        ]
        rows = [row for point in points for row in scale(point, [1, cores], options.repeats)]
        rows += measure_overheads(cores)
        table = Table("problem", "ranks", "s / iteration", "times faster")
        for row in rows:
            faster = "-" if row.speedup is None else f"{row.speedup:.2f}"
            table.add_row(row.case, str(row.ranks), f"{row.seconds_median:.3g}", faster)
        Console().print(table)
        wrong = False
    else:
        precision = options.precision
        counts = [int(count) for count in options.ranks.split(",")]
        rows = compare(counts, options.iterations, precision)
        table = Table("case", "ranks", "iterations", "difference", "of rounding alone", "same twice")
        for row in rows:
            table.add_row(
                row.case,
                str(row.ranks),
                str(row.iterations),
                f"{row.difference_max:.1e}",
                f"{row.rounding_max:.1e}",
                "yes" if row.same_twice else "NO",
            )
        Console().print(table)
        wrong = not all(r.same_twice and r.difference_max <= max(10 * r.rounding_max, ALLOWED) for r in rows)
    if options.results:
        append_rows(options.results, rows)
    return int(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
