"""The problems that the benchmarks time, and the processes that they are timed in.

Every implementation lives in a process of its own, so that its peak memory is its own; the processes take turns, an
iteration each, so that whatever else the machine does meets all of them alike.
"""

from __future__ import annotations

import contextlib
import math
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from ncfm import kernels
from ncfm._utils.device import (
    choose_device,
    describe_device,
    keep_freed_memory,
    measure_peak_memory,
    peak_memory_mb,
)
from ncfm._utils.seeding import generator
from ncfm.config import build
from ncfm.config.build import build_machine
from ncfm.config.distribution_matching import build_objective, run_distillation
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.schema import RunConfig
from ncfm.config.trajectory_matching import run_trajectory_matching
from ncfm.data import images_of, load_images, store
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.distillation.control import RunControl
from ncfm.synthetic.initialization import start_images
from ncfm.training.experts import STORED, ExpertPool, Trajectory, flat
from ncfm.training.teachers import TeacherPool, network_for, untrained_pool

FOREVER = 10**9  # iterations: the clock stops them


@dataclass(frozen=True)
class Problem:
    """One point of a benchmark."""

    dataset: str = "cifar10"  # or "random": images of noise, for any size and number of classes; or "large"
    ipc: int = 10
    real_batch_per_class: int = 64
    num_frequencies: int = 1024
    image_size: int = 32
    num_classes: int = 10
    width: int = 128
    factor: int = 2
    device: str = "auto"
    gradient_chunk_size: int | None = None
    images_per_class: int = 300  # of "large"
    held: bool = True  # "large" in memory; else in a mapped file
    student_steps: int = 8  # of trajectory matching
    student_batch_size: int = 100  # at most
    differentiation: str = "replayed"
    precision: str = "auto"
    compiling: str = "auto"
    family: str = "mixture"  # of the frequencies

    def config(self) -> RunConfig:
        """As a run's configuration."""
        return make_config(
            nest(
                {
                    "teachers.network": f"convnetw{self.width}",
                    "distill.factor": self.factor,
                    "distill.real_batch_per_class": self.real_batch_per_class,
                    "distill.iterations": FOREVER,
                    "distill.image_schedule": "constant",
                    "frequencies.number": self.num_frequencies,
                    "frequencies.family": self.family,
                    "machine.device": self.device,
                    "machine.gradient_chunk_size": self.gradient_chunk_size,
                    "machine.precision": self.precision,
                    "machine.compile": self.compiling,
                }
            )
        )

    def images(self) -> ImageSet:
        """The real set; of noise, as many as two batches and the start need."""
        if self.dataset == "large":
            store.HELD_BYTES = 2**62 if self.held else 0
            return images_of(ManyImages(self.num_classes, self.images_per_class, self.image_size))
        if self.dataset != "random":
            return load_images(self.dataset)
        count = max(2 * self.real_batch_per_class, self.ipc * self.factor**2)
        shape = (self.num_classes * count, 3, self.image_size, self.image_size)
        pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator(0, "pixels"))
        labels = torch.arange(self.num_classes).repeat_interleave(count)
        names = tuple(str(i) for i in range(self.num_classes))
        return ImageSet("random", ImageSplit.of(pixels, labels, self.num_classes), None, names)

    def pool(self, images: ImageSet, device: torch.device, compile_networks: bool) -> TeacherPool:
        """Two teachers of random weights: training them would not change what an iteration costs."""
        return untrained_pool(
            images, self.config().teachers.network, number=2, device=device, compile_networks=compile_networks
        )


class ManyImages(torch.utils.data.Dataset):
    """Images of noise around a colour of their class, made from their number: as many as anybody wants."""

    def __init__(self, num_classes: int, per_class: int, side: int) -> None:
        self.num_classes, self.count, self.shape = num_classes, num_classes * per_class, (side, side, 3)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        label = index % self.num_classes
        noise = np.frombuffer(random.Random(index).randbytes(math.prod(self.shape)), np.uint8).reshape(self.shape)
        colour = np.array([label % 10, label // 10 % 10, label // 100], dtype=np.uint8) * np.uint8(20)
        return noise // 4 + colour, label


def play_package(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's own iterations, ``turn`` after each."""
    config, images = problem.config(), problem.images()
    machine = build_machine(config.machine, images.image_size)
    pool = problem.pool(images, machine.device, machine.compile_networks)

    def after(iteration: int, metrics: dict[str, float]) -> None:
        if machine.device.type == "cuda":
            torch.cuda.synchronize()
        turn()

    run_distillation(
        images, pool, config, machine, ipc=problem.ipc, control=RunControl(log_every=FOREVER, on_iteration=after)
    )


def play_reference(problem: Problem, turn: Callable[[], None]) -> None:
    """Iterations of the reference loop as the published code is shipped, ``turn`` after each."""
    play_reference_learned(replace(problem, family="gaussian"), turn)


def play_reference_learned(problem: Problem, turn: Callable[[], None]) -> None:
    """Iterations of the reference loop with learned frequencies."""
    from benchmarks.reference import ReferenceLoop

    config, images = problem.config(), problem.images()
    device = choose_device(config.machine.device)
    pool = problem.pool(images, device, compile_networks=False)
    for network in (pool.blended, pool.whole):
        network.to(memory_format=torch.contiguous_format)
    objective = build_objective(config, pool.blended.num_features, images.num_classes)
    d = config.distill
    iteration = ReferenceLoop(
        images.train,
        start_images(images, ipc=problem.ipc, factor=d.factor, init=d.init, generator=generator(0, "init")),
        objective.sampler,
        pool,
        real_batch=d.real_batch_per_class,
        factor=d.factor,
        strategy=d.augment,
        image_lr=d.image_lr,
        adversary_lr=d.adversary_lr,
        generator=generator(0, "reference"),
    )
    while True:
        iteration()
        turn()


def keeping_memory(play: Callable[[Problem, Callable[[], None]], None]) -> Callable[..., None]:
    """A loop in a process that keeps freed memory, as the package's does: what is left is computing."""

    def play_keeping(problem: Problem, turn: Callable[[], None]) -> None:
        keep_freed_memory()
        play(problem, turn)

    return play_keeping


def play_package_fixed(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's iterations with fixed Gaussian frequencies, as the published code is shipped."""
    play_package(replace(problem, family="gaussian"), turn)


def play_package_in_one_pass(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's iterations with all classes in one pass, whatever memory it takes."""
    play_package(replace(problem, gradient_chunk_size=FOREVER), turn)


def play_package_returning_memory(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's iterations in a process that returns freed memory, as the C library does by itself."""
    build.keep_freed_memory = lambda: None
    play_package(problem, turn)


def play_package_in_float32(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's iterations in float32, on a CPU by its own kernels."""
    play_package(replace(problem, precision="float32"), turn)


def play_package_uncompiled(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's iterations in bfloat16, operator by operator."""
    play_package(replace(problem, precision="bfloat16", compiling="off"), turn)


def play_package_mapped(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's iterations on images that are mapped from a file."""
    play_package(replace(problem, held=False), turn)


def play_trajectories(problem: Problem, turn: Callable[[], None]) -> None:
    """Iterations of DATM on experts of random weights: recording them would not change what an iteration costs."""
    settings = {
        "objective.name": "datm",
        "distill.factor": 1,
        "distill.init": "real",
        "distill.iterations": FOREVER,
        "distill.image_schedule": "constant",
        "teachers.network": f"convnetw{problem.width}",
        "trajectory.start_high": 0,
        "trajectory.matched_epochs": 1,
        "trajectory.student_steps": problem.student_steps,
        "trajectory.student_batch_size": problem.student_batch_size,
        "trajectory.differentiation": problem.differentiation,
        "trajectory.correct_start": False,
        "machine.device": problem.device,
    }
    config, images = make_config(nest(settings)), problem.images()
    machine = build_machine(config.machine, images.image_size)
    networks = [network_for(images, config.teachers.network, seed=seed) for seed in range(2)]
    states = torch.stack([flat(network) for network in networks]).to(STORED)
    experts = ExpertPool([Trajectory(states, 0.0)], networks[0], statistics=images.statistics, device=machine.device)

    def after(iteration: int, metrics: dict[str, float]) -> None:
        if machine.device.type == "cuda":
            torch.cuda.synchronize()
        turn()

    run_trajectory_matching(
        images, experts, config, ipc=problem.ipc, control=RunControl(log_every=FOREVER, on_iteration=after)
    )


def trajectories(differentiation: str, steps: int) -> str:
    """The name of trajectory matching as a player."""
    return f"datm, {differentiation}, {steps} steps"


def player(name: str) -> Callable[[Problem, Callable[[], None]], None]:
    """The implementation of a name: of `PLAYERS`, or of `trajectories`."""
    if name in PLAYERS:
        return PLAYERS[name]
    _, differentiation, steps = name.split(", ")
    options = {"differentiation": differentiation, "student_steps": int(steps.split()[0])}
    return lambda problem, turn: play_trajectories(replace(problem, **options), turn)


PLAYERS = {
    "reference": play_reference,
    "reference, memory kept": keeping_memory(play_reference),
    "reference, learned": play_reference_learned,
    "reference, learned, memory kept": keeping_memory(play_reference_learned),
    "ncfm, memory returned": play_package_returning_memory,
    "ncfm": play_package,
    "ncfm, fixed": play_package_fixed,
    "ncfm, one pass": play_package_in_one_pass,
    "ncfm, float32": play_package_in_float32,
    "ncfm, bfloat16 uncompiled": play_package_uncompiled,
    "ncfm, mapped": play_package_mapped,
}


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


def operations_of(problem: Problem) -> float:
    """Operations of an iteration as its definition has them: direct convolutions, every pass counted once."""
    from torch.utils.flop_counter import FlopCounterMode

    class Counted(Exception):
        pass

    counter = FlopCounterMode(display=False)

    def stop() -> None:
        raise Counted

    with kernels.switched_off(), counter, contextlib.suppress(Counted):
        play_package(replace(problem, device="cpu"), stop)
    return float(counter.get_total_flops())
