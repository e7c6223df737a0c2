"""Plans: the predicted time and memory of a run, from a few timed steps of each of its stages."""

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
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.seeding import generator
from ncfm.config.build import build_protocol
from ncfm.config.distribution_matching import check_counts
from ncfm.config.loops import Loop, loop_of
from ncfm.config.pools import TEACHERS, PoolSource
from ncfm.config.resolve import Settings, resolve_config
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation.control import RunControl
from ncfm.networks import on_device
from ncfm.synthetic.counts import Ipc, IpcSpec, checked_spec, counts_for
from ncfm.synthetic.initialization import start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.epoch_states import bytes_of_states
from ncfm.training.fit import accuracy, fit, steps_per_epoch
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import network_for
from ncfm.workflows.extension import read_earlier
from ncfm.workflows.stages import prepare

WARM_UP = 2  # untimed first steps of each stage, with allocations and compilation


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: str
    unit: str  # "epoch", "iteration"
    units: int  # remaining; those in the cache are not counted
    seconds_per_unit: float  # median of the timed ones

    @property
    def seconds(self) -> float:
        """Predicted time of the stage."""
        return self.units * self.seconds_per_unit


@dataclass(frozen=True)
class Plan:
    """The predicted time and memory of a run."""

    stages: tuple[Stage, ...]
    peak_memory_mb: float  # of this process after a few steps of every stage
    available_memory_mb: float | None  # before them; None if unknown
    images_per_pass: int | None  # synthetic images in one pass with gradient; None if all fit into one
    device: str
    threads: int
    checkpoints_mb: float = 0.0  # on disk, of the teachers' checkpoints, if extractors are drawn from them

    @property
    def seconds(self) -> float:
        """Predicted time of all stages."""
        return sum(stage.seconds for stage in self.stages)


def plan(
    data: str | ImageSet,
    *,
    ipc: IpcSpec,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    steps: int = 5,
    reporter: Reporter | None = None,
) -> Plan:
    """Predict the time and memory of distillation and evaluation, from ``steps`` timed steps per stage.

    Nothing is written and no teacher is trained: networks with random weights cost the same. Those in the
    cache are not counted. The prediction assumes that the load of the machine does not change.

    Args:
        data, ipc, recipe, settings, seed, data_dir, reporter: as in `ncfm.distill`.
        steps: timed steps per stage, at least 1.

    Raises:
        NcfmError: for unknown data or settings, or data that do not fit the settings.

    >>> found = plan("cifar10", ipc=10)  # doctest: +SKIP
    >>> found.seconds, [stage.name for stage in found.stages]  # doctest: +SKIP
    """
    spec = checked_spec(ipc)
    check_at_least(steps, 1, "steps")
    config = resolve_config(data, spec, recipe, settings, seed)
    images, machine = prepare(data, config, data_dir)
    counts = counts_for(spec, images.train.counts)
    check_counts(counts, config)
    free = available_memory(machine.device)
    loop = loop_of(config)
    loop.check(images, config, machine)
    sources: list[PoolSource[Any]] = [loop.needs(config)]
    if config.evaluate.labels == "teacher" and TEACHERS.name != sources[0].name:
        sources.append(TEACHERS)
    reporter = reporter or Silent()
    reporter.begin("timing", 3, unit="stage")
    distilling, per_pass = _distilling(loop, images, config, machine, counts, steps)
    reporter.update(1, "distilling")
    trainings = [_training(source, images, config, machine, steps) for source in sources if source.is_trained]
    reporter.update(2, "teachers")
    evaluation = _evaluation(images, config, machine, counts, steps)
    reporter.update(3, "students")
    reporter.end()
    return Plan(
        stages=(*trainings, distilling, *evaluation),
        peak_memory_mb=peak_memory_mb(machine.device),
        available_memory_mb=None if free is None else free / 2**20,
        images_per_pass=per_pass,
        device=describe_device(machine.device),
        threads=torch.get_num_threads(),
        checkpoints_mb=_checkpoints_mb(images, config),
    )


def _checkpoints_mb(images: ImageSet, config: RunConfig) -> float:
    """MiB on disk of the weights that all teachers keep of their epochs; 0 if none are kept."""
    teachers = config.teachers
    if teachers.extractor != "checkpoint":
        return 0.0
    network = network_for(images, teachers.network, seed=0)
    return teachers.number * bytes_of_states(network, teachers.epochs) / 2**20


class _Clock:
    """Times between calls, without the first `WARM_UP`. Unlike a run it waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []
        self._calls, self._last = 0, 0.0

    def tick(self, *_: object) -> None:
        """Record the time since the last call."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self._calls >= WARM_UP:
            self.times.append(now - self._last)
        self._calls, self._last = self._calls + 1, now

    @property
    def median(self) -> float:
        """Of the recorded times, in seconds."""
        return statistics.median(self.times)


def _distilling(
    loop: Loop, images: ImageSet, config: RunConfig, machine: Compute, ipc: Ipc, steps: int
) -> tuple[Stage, int | None]:
    clock = _Clock(machine.device)
    few = replace(config.distill, iterations=WARM_UP + steps, real_batches="random", num_clusters=None)
    short = config.model_copy(update={"distill": few, "machine": config.machine.model_copy(update={"log": None})})
    networks = loop.needs(config).untrained(images, config, machine)
    control = RunControl(on_iteration=clock.tick, log_every=10**9)
    earlier = read_earlier(config.distill, images)
    result = loop.run(images, networks, short, machine, ipc=ipc, control=control, extend=earlier)
    return Stage("distilling", "iteration", config.distill.iterations, clock.median), result.images_per_pass


def _training(source: PoolSource[Any], images: ImageSet, config: RunConfig, machine: Compute, steps: int) -> Stage:
    recipe, missing = source.recipe(config), source.num_missing(images, config, machine)
    batches = steps_per_epoch(len(images.train), recipe)
    seconds = _seconds_per_step(
        config.teachers.network, images, images.train.images, images.train.labels, recipe, machine, steps
    )
    return Stage(source.name, "epoch", missing * recipe.epochs, batches * seconds)


def _evaluation(images: ImageSet, config: RunConfig, machine: Compute, ipc: Ipc, steps: int) -> tuple[Stage, ...]:
    protocol = build_protocol(config)
    d = config.distill
    start = start_images(images, ipc=ipc, factor=d.factor, init="noise", generator=generator(0, "plan"))
    own = None if isinstance(ipc, int) else ipc
    train = SyntheticSet(start, images.class_names, images.statistics, d.factor, d.mode, d.bound, counts=own).decoded()
    network = config.evaluate.network
    seconds = _seconds_per_step(network, images, train.images, train.labels, protocol.recipe, machine, steps)
    batches = steps_per_epoch(len(train.images), protocol.recipe)
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
    return students, Stage("testing", "evaluation", looks, clock.median * len(images.test) / part)


def _seconds_per_step(
    network: str,
    images: ImageSet,
    pixels: torch.Tensor,
    labels: torch.Tensor,
    recipe: TrainingRecipe,
    machine: Compute,
    steps: int,
) -> float:
    """Median seconds of an optimizer step, timed as a training of one batch per epoch."""
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
