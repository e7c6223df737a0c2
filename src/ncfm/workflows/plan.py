"""Plans: what a run will take in time and memory, from a few timed steps of each of its stages."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from ncfm._utils.checks import check_at_least
from ncfm._utils.compute import Compute
from ncfm._utils.device import available_memory, compiled, describe_device, peak_memory_mb
from ncfm._utils.seeding import generator
from ncfm.config.build import build_protocol
from ncfm.config.loops import Loop, loop_of
from ncfm.config.pools import TEACHERS, PoolSource
from ncfm.config.resolve import Settings, resolve_config
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation.control import RunControl
from ncfm.networks import on_device
from ncfm.synthetic.initialization import start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.fit import accuracy, fit, steps_per_epoch
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import network_for
from ncfm.workflows.stages import prepare

WARM_UP = 2  # steps of each stage that are not counted: first allocations, compilation


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: str
    unit: str
    units: int  # left to do
    seconds_per_unit: float  # median of the timed ones

    @property
    def seconds(self) -> float:
        """Predicted."""
        return self.units * self.seconds_per_unit


@dataclass(frozen=True)
class Plan:
    """What a run will take."""

    stages: tuple[Stage, ...]
    peak_memory_mb: float  # of this process after a few steps of everything
    available_memory_mb: float | None  # before them
    images_per_pass: int | None  # with gradient; None if all synthetic images fit at once
    device: str
    threads: int

    @property
    def seconds(self) -> float:
        """Predicted, of all stages."""
        return sum(stage.seconds for stage in self.stages)


def plan(
    data: str | ImageSet,
    *,
    ipc: int,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    steps: int = 5,
) -> Plan:
    """Predict the time and memory of distilling and judging, from ``steps`` timed steps of each stage.

    Nothing is written and no teacher is trained: networks of random weights cost the same. Teachers and experts that
    the cache already has are not counted. The prediction holds for a machine that stays as busy as it is now.

    Args:
        data, ipc, recipe, settings, seed, data_dir: as in `ncfm.distill`.
        steps: timed steps of each stage, at least 1.

    Raises:
        NcfmError: for unknown or unfit data and settings.
    """
    check_at_least(ipc, 1, "ipc (images per class)")
    check_at_least(steps, 1, "steps")
    config = resolve_config(data, ipc, recipe, settings, seed)
    images, machine = prepare(data, config, data_dir)
    free = available_memory(machine.device)
    loop = loop_of(config)
    loop.check(images, config, machine)
    sources: list[PoolSource[Any]] = [loop.needs(config)]
    if config.evaluate.labels == "teacher" and TEACHERS.name != sources[0].name:
        sources.append(TEACHERS)
    iterations, per_pass = _distilling(loop, images, config, machine, ipc, steps)
    trainings = [_training(source, images, config, machine, steps) for source in sources if source.is_trained]
    return Plan(
        stages=(*trainings, iterations, *_evaluation(images, config, machine, ipc, steps)),
        peak_memory_mb=peak_memory_mb(machine.device),
        available_memory_mb=None if free is None else free / 2**20,
        images_per_pass=per_pass,
        device=describe_device(machine.device),
        threads=torch.get_num_threads(),
    )


class _Clock:
    """Times between calls, the first `WARM_UP` left out; waits for the device, which a run itself does not."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []
        self._calls, self._last = 0, 0.0

    def tick(self, *_: object) -> None:
        """Note the time since the last call."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self._calls >= WARM_UP:
            self.times.append(now - self._last)
        self._calls, self._last = self._calls + 1, now

    @property
    def median(self) -> float:
        """Of the noted times, in seconds."""
        return statistics.median(self.times)


def _distilling(
    loop: Loop, images: ImageSet, config: RunConfig, machine: Compute, ipc: int, steps: int
) -> tuple[Stage, int | None]:
    clock = _Clock(machine.device)
    few = replace(config.distill, iterations=WARM_UP + steps)
    short = config.model_copy(update={"distill": few, "machine": config.machine.model_copy(update={"log": None})})
    networks = loop.needs(config).untrained(images, config, machine)
    control = RunControl(on_iteration=clock.tick, log_every=10**9)
    result = loop.run(images, networks, short, machine, ipc=ipc, control=control)
    return Stage("distilling", "iteration", config.distill.iterations, clock.median), result.images_per_pass


def _training(source: PoolSource[Any], images: ImageSet, config: RunConfig, machine: Compute, steps: int) -> Stage:
    recipe, missing = source.recipe(config), source.num_missing(images, config, machine)
    batches = steps_per_epoch(len(images.train), recipe.batch_size)
    seconds = _seconds_per_step(
        config.teachers.network, images, images.train.images, images.train.labels, recipe, machine, steps
    )
    return Stage(source.name, "epoch", missing * recipe.epochs, batches * seconds)


def _evaluation(images: ImageSet, config: RunConfig, machine: Compute, ipc: int, steps: int) -> tuple[Stage, ...]:
    protocol = build_protocol(config)
    d = config.distill
    start = start_images(images, ipc=ipc, factor=d.factor, init="noise", generator=generator(0, "plan"))
    train = SyntheticSet(start, images.class_names, images.statistics, d.factor, d.mode, d.bound).decoded()
    network = config.evaluate.network
    seconds = _seconds_per_step(network, images, train.images, train.labels, protocol.recipe, machine, steps)
    batches = steps_per_epoch(len(train.images), protocol.recipe.batch_size)
    students = Stage("students", "epoch", protocol.num_runs * protocol.recipe.epochs, batches * seconds)
    if images.test is None:
        return (students,)
    part = min(len(images.test), 1024)
    student = on_device(network_for(images, network, seed=0), machine.device)
    clock = _Clock(machine.device)
    for _ in range(WARM_UP + 3):
        accuracy(student, images.test.images[:part], images.test.labels[:part], statistics=images.statistics)
        clock.tick()
    looks = protocol.num_runs * max(protocol.looks, 1)
    return students, Stage("testing", "look", looks, clock.median * len(images.test) / part)


def _seconds_per_step(
    network: str,
    images: ImageSet,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    recipe: TrainingRecipe,
    machine: Compute,
    steps: int,
) -> float:
    """Median seconds of an optimizer step of a training, each timed as an epoch of one batch."""
    at = torch.randperm(len(pixels), generator=generator(0, "plan"))[: recipe.batch_size]
    clock = _Clock(machine.device)
    module = on_device(network_for(images, network, seed=0), machine.device)
    fit(
        module,
        pixels[at],
        labels[at],
        recipe=replace(recipe, epochs=WARM_UP + steps),
        statistics=images.statistics,
        generator=generator(0, "plan"),
        forward=compiled(module, machine.compile_networks),
        precision=machine.precision,
        after_epoch=clock.tick,
    )
    return clock.median
