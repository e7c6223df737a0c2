"""What the benchmarks race: iterations of the package in several forms, and of the loops it is compared with.

A player takes a problem and a function that it calls after each of its iterations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from benchmarks.problem import FOREVER, Problem
from ncfm._utils.device import choose_device, keep_freed_memory
from ncfm._utils.seeding import generator
from ncfm.config import build
from ncfm.config.build import build_machine
from ncfm.config.distribution_matching import build_objective, run_distillation
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.trajectory_matching import run_trajectory_matching
from ncfm.distillation.control import RunControl
from ncfm.synthetic.initialization import start_images
from ncfm.training.experts import STORED, ExpertPool, Trajectory, flat
from ncfm.training.teachers import network_for


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
    play_reference_learned(replace(problem, method="gaussian"), turn)


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


def changed(**changes: Any) -> Callable[[Problem, Callable[[], None]], None]:
    """The package's iterations on the problem with other values of its fields."""
    return lambda problem, turn: play_package(replace(problem, **changes), turn)


def play_package_returning_memory(problem: Problem, turn: Callable[[], None]) -> None:
    """The package's iterations in a process that returns freed memory, as the C library does by itself."""
    build.keep_freed_memory = lambda: None
    play_package(problem, turn)


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


PLAYERS = {
    "reference": play_reference,  # as the published code is shipped: with fixed frequencies
    "reference, memory kept": keeping_memory(play_reference),
    "reference, learned": play_reference_learned,
    "reference, learned, memory kept": keeping_memory(play_reference_learned),
    "ncfm": play_package,
    "ncfm, fixed": changed(method="gaussian"),
    "ncfm, per teacher": changed(per_teacher=True),
    "ncfm, fisher": changed(method="fisher"),
    "ncfm, entropic": changed(method="entropic"),
    "ncfm, one pass": changed(gradient_chunk_size=FOREVER),  # of all classes, whatever memory it takes
    "ncfm, float32": changed(precision="float32"),  # on a CPU by the package's kernels
    "ncfm, bfloat16 uncompiled": changed(precision="bfloat16", compiling="off"),
    "ncfm, mapped": changed(held=False),
    "ncfm, memory returned": play_package_returning_memory,
}


def player(name: str) -> Callable[[Problem, Callable[[], None]], None]:
    """The implementation of a name: of `PLAYERS`, or of `trajectories`."""
    if name in PLAYERS:
        return PLAYERS[name]
    _, differentiation, steps = name.split(", ")
    options = {"differentiation": differentiation, "student_steps": int(steps.split()[0])}
    return lambda problem, turn: play_trajectories(replace(problem, **options), turn)
