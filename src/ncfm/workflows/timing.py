"""Timed steps of every stage of a run, within the memory and the time of a plan."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled
from ncfm._utils.progress import Reporter
from ncfm._utils.seeding import generator
from ncfm._utils.types import LabelledImages
from ncfm.config.build import build_protocol
from ncfm.config.loops import Loop
from ncfm.config.pools import PoolSource
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.distillation import DistillResult
from ncfm.distillation.control import RunControl
from ncfm.distillation.pass_sizes import PASS_PEAK
from ncfm.evaluation import Protocol
from ncfm.networks import on_device
from ncfm.synthetic.counts import Ipc
from ncfm.synthetic.initialization import start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.fit import accuracy, fit, steps_per_epoch
from ncfm.training.pilot import held_out, rounds
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import network_for
from ncfm.workflows.estimate import BACKWARD, STEP_KEPT, Estimate, NetworkCost, fitting_images, images_per_pass
from ncfm.workflows.extension import read_earlier

WARM_UP = 2  # untimed first steps of each stage, with allocations and compilation
STAGE_SECONDS = 60.0  # of the timed steps of a stage, by the estimate; fewer steps are timed where one takes long
TEST_STEPS = 3  # timed batches of a test evaluation


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


class _Clock:
    """Times between calls, without the first ones. Unlike a run it waits for the device.

    Args:
        device: to wait for.
        warm_up: calls that are not timed.
        on_tick: is called at every call.
    """

    def __init__(self, device: torch.device, warm_up: int, on_tick: Callable[[], None]) -> None:
        self.device, self.warm_up, self.on_tick = device, warm_up, on_tick
        self.times: list[float] = []
        self._calls, self._last = 0, 0.0

    def tick(self, *_: object) -> None:
        """Record the time since the last call."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = time.perf_counter()
        if self._calls >= self.warm_up:
            self.times.append(now - self._last)
        self._calls, self._last = self._calls + 1, now
        self.on_tick()

    @property
    def median(self) -> float:
        """Of the recorded times, in seconds."""
        return statistics.median(self.times)


@dataclass
class Timing:
    """The timed steps of all stages, within the memory and the time of a plan."""

    images: ImageSet
    config: RunConfig
    machine: Compute
    ipc: Ipc
    steps: int
    free: int | None
    expected: Estimate
    reporter: Reporter
    done: int = 0
    is_smaller: bool = False  # whether some steps had fewer images than those of the run

    def distilling(self, loop: Loop) -> tuple[Stage, DistillResult]:
        """Iterations, in passes that fit into the memory of a plan."""
        config, machine = self.config, self.machine
        fitting = fitting_images(self.expected.teacher, self.free, PASS_PEAK)
        alone, with_gradient = images_per_pass(
            machine, self.expected.teacher, self.expected.decoded, self.images.num_classes, self.free
        )
        per_iteration = next(each for name, _, _, each in self.expected.stages if name == "distilling")
        warm_up, steps = self._few(per_iteration)
        if fitting is not None and fitting < alone:
            self.is_smaller = True
            machine = replace(machine, chunk_size=fitting)
        if fitting is not None and fitting < with_gradient and machine.gradient_chunk_size is None:
            # The step itself would choose its passes by another share of the memory.
            self.is_smaller = True
            machine = replace(machine, gradient_chunk_size=fitting)
        few = replace(config.distill, iterations=warm_up + steps, real_batches="random", num_clusters=None)
        quiet = config.machine.model_copy(update={"log": None})
        short = config.model_copy(update={"distill": few, "machine": quiet})
        clock = self._clock(warm_up, "distilling")
        networks = loop.needs(config).untrained(self.images, config, machine)
        control = RunControl(on_iteration=clock.tick, log_every=10**9)
        earlier = read_earlier(config.distill, self.images)
        result = loop.run(self.images, networks, short, machine, ipc=self.ipc, control=control, extend=earlier)
        return Stage("distilling", "iteration", config.distill.iterations, clock.median), result

    def training(self, source: PoolSource[Any]) -> Stage:
        """Optimizer steps of teachers or experts."""
        images, config = self.images, self.config
        recipe, missing = source.recipe(config), source.num_missing(images, config, self.machine)
        batches = steps_per_epoch(len(images.train), recipe)
        train = LabelledImages(images.train.images, images.train.labels)
        seconds = self._per_step(config.teachers.network, train, recipe, self.expected.teacher, source.name)
        return Stage(source.name, "epoch", missing * recipe.epochs, batches * seconds)

    def pilot(self, recipe: TrainingRecipe) -> Stage:
        """All epochs that a pilot may take, timed by the optimizer steps of a teacher."""
        rest, _ = held_out(self.images)
        train = LabelledImages(rest.images, rest.labels)
        seconds = self._per_step(self.config.teachers.network, train, recipe, self.expected.teacher, "pilot")
        return Stage("pilot", "epoch", rounds(len(rest), recipe)[-1], steps_per_epoch(len(rest), recipe) * seconds)

    def evaluation(self) -> tuple[Stage, ...]:
        """Optimizer steps and tests of students."""
        images, config, d = self.images, self.config, self.config.distill
        protocol = build_protocol(config)
        start = start_images(images, ipc=self.ipc, factor=d.factor, init="noise", generator=generator(0, "plan"))
        own = None if isinstance(self.ipc, int) else self.ipc
        train = SyntheticSet(
            start, images.class_names, images.statistics, d.factor, d.mode, d.bound, counts=own
        ).decoded()
        network = config.evaluate.network
        seconds = self._per_step(network, train, protocol.recipe, self.expected.student, "students")
        batches = steps_per_epoch(len(train.images), protocol.recipe)
        students = Stage("students", "epoch", protocol.num_runs * protocol.recipe.epochs, batches * seconds)
        return (students,) if images.test is None else (students, self._testing(images.test, network, protocol))

    def _testing(self, test: ImageSplit, network: str, protocol: Protocol) -> Stage:
        """Passes over a part of the test split."""
        few = fitting_images(self.expected.student, self.free, STEP_KEPT)
        part = min(len(test), 1024 if few is None else min(few, 1024))
        student = on_device(network_for(self.images, network, seed=0), self.machine.device)
        clock = _Clock(self.machine.device, WARM_UP, lambda: None)
        for _ in range(WARM_UP + TEST_STEPS):
            accuracy(student, test.images[:part], test.labels[:part], statistics=self.images.statistics)
            clock.tick()
        looks = protocol.num_runs * max(protocol.looks, 1)
        return Stage("testing", "evaluation", looks, clock.median * len(test) / part)

    def _per_step(
        self, network: str, train: LabelledImages, recipe: TrainingRecipe, cost: NetworkCost, stage: str
    ) -> float:
        """Median seconds of an optimizer step, timed as a training of one batch per epoch.

        The batch is smaller if that of the recipe does not fit; the time is then scaled to the whole one.
        """
        whole = min(recipe.batch_size, len(train.images))
        fitting = fitting_images(cost, self.free, STEP_KEPT)
        batch = whole if fitting is None else min(whole, fitting)
        self.is_smaller |= batch < whole
        warm_up, steps = self._few(BACKWARD * batch * cost.seconds)
        at = torch.randperm(len(train.images), generator=generator(0, "plan"))[:batch]
        clock = self._clock(warm_up, stage)
        module = on_device(network_for(self.images, network, seed=0), self.machine.device)
        fit(
            module,
            train.images[at],
            train.labels[at],
            recipe=replace(recipe, epochs=warm_up + steps),
            statistics=self.images.statistics,
            generator=generator(0, "plan"),
            forward=compiled(module, self.machine.compile_networks),
            precision=self.machine.precision,
            after_epoch=clock.tick,
        )
        return clock.median * whole / batch

    def _few(self, expected: float) -> tuple[int, int]:
        """Untimed and timed steps of a stage, of which one takes about ``expected`` seconds."""
        fitting = int(STAGE_SECONDS / max(expected, 1e-9))
        return (WARM_UP, self.steps) if fitting >= WARM_UP + self.steps else (1, max(min(fitting - 1, self.steps), 1))

    def _clock(self, warm_up: int, stage: str) -> _Clock:
        """A clock that reports its steps."""

        def report() -> None:
            self.done += 1
            self.reporter.update(self.done, stage)

        return _Clock(self.machine.device, warm_up, report)
