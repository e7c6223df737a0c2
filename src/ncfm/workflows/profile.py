"""Profiles: what each stage of an iteration and of a training epoch takes, and its share of the machine's rate."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from ncfm import kernels
from ncfm._utils.ceiling import clock_of, matmul_rate
from ncfm._utils.checks import check_at_least
from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled, describe_device
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.seeding import generator
from ncfm._utils.stages import StageClock, measured_by
from ncfm.config.build import build_teacher_recipe
from ncfm.config.loops import loop_of
from ncfm.config.resolve import Settings
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation.control import RunControl
from ncfm.networks import on_device
from ncfm.synthetic.counts import Ipc, IpcSpec, checked_spec, counts_for
from ncfm.training.fit import fit, steps_per_epoch
from ncfm.training.teachers import network_for
from ncfm.workflows.checks import check_distillation
from ncfm.workflows.defaults import Asked
from ncfm.workflows.extension import read_earlier

WARM_UP = 2  # unmeasured first steps, with allocations and compilation
OTHER = "everything else"
OF_NETWORKS = ("real features", "synthetic forward", "calibration forward", "forward", "backward")  # in their precision


@dataclass(frozen=True)
class StageCost:
    """What a stage takes in an iteration, or in an epoch of a teacher."""

    unit: str  # "iteration", "teacher epoch"
    name: str
    seconds: float  # see `Profile.clock`
    operations: float  # of its matrix products and convolutions as they are defined
    share: float  # of the unit's seconds
    share_of_ceiling: float  # its operations per second over those of a large matrix product


@dataclass(frozen=True)
class Profile:
    """What the stages of a run take."""

    stages: tuple[StageCost, ...]
    clock: str  # what seconds are: "CPU seconds" of all threads, or "seconds"
    rates: dict[str, float]  # operations per second of a large matrix product, by precision
    precision: str  # of the networks
    iteration_memory_mb: float  # above what the process held before the iterations
    images_per_pass: int | None
    training_images: int  # of an epoch
    device: str
    threads: int

    def seconds(self, unit: str) -> float:
        """Of an iteration or an epoch."""
        return sum(stage.seconds for stage in self.stages if stage.unit == unit)


def profile(
    data: str | ImageSet,
    *,
    ipc: IpcSpec,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    steps: int = 5,
    reporter: Reporter | None = None,
) -> Profile:
    """Measure every stage of an iteration and of an epoch of a teacher, on networks with random weights.

    On a CPU seconds are CPU seconds of all threads, so that other programs hardly matter. Operations are counted in one
    more iteration and step, which run PyTorch's operators one by one in float32. A kernel that saves multiplications
    can be faster than the ceiling.

    Args:
        data, ipc, recipe, settings, seed, data_dir, reporter: as in `ncfm.distill`.
        steps: measured iterations and training steps, at least 1.

    Raises:
        NcfmError: for unknown data or settings, or data that do not fit the settings.

    >>> found = profile("cifar10", ipc=10)  # doctest: +SKIP
    >>> {stage.name: stage.share for stage in found.stages if stage.unit == "iteration"}  # doctest: +SKIP
    """
    spec, reporter = checked_spec(ipc), reporter or Silent()
    check_at_least(steps, 1, "steps")
    asked = Asked(data, spec, recipe, settings or {}, seed)
    images, machine, config, _ = asked.prepare(asked.before_data(), data_dir, reporter, train=False)
    counts = counts_for(spec, images.train.counts)
    check_distillation(images, config, machine, counts)
    reporter.begin("profiling", 4, unit="part")
    iteration = _Iteration(images, config, counts)
    seconds = iteration.measure(machine, steps, clock_of(machine.device))
    reporter.update(1, "iteration")
    plain = replace(machine, precision=torch.float32, compile_networks=False, compile_step=False)
    operations = _counted(lambda read: iteration.measure(plain, 1, read, warm_up=0))
    reporter.update(2, "iteration")
    batches = steps_per_epoch(len(images.train), build_teacher_recipe(config))
    of_step = _training_step(images, config, machine, steps, clock_of(machine.device))
    of_step_operations = _counted(lambda read: _training_step(images, config, plain, 1, read, warm_up=0))
    reporter.update(3, "teacher")
    rates = {name: matmul_rate(machine.device, getattr(torch, name)) for name in ("float32", "bfloat16")}
    reporter.update(4, "ceiling")
    reporter.end()
    precision = str(machine.precision).removeprefix("torch.")
    if precision not in rates:
        rates[precision] = matmul_rate(machine.device, machine.precision)
    ceiling = {True: rates[precision], False: rates["float32"]}
    return Profile(
        stages=(
            *_costs("iteration", seconds, operations, ceiling),
            *_costs("teacher epoch", _times(of_step, batches), _times(of_step_operations, batches), ceiling),
        ),
        clock="CPU seconds" if machine.device.type == "cpu" else "seconds",
        rates=rates,
        precision=precision,
        iteration_memory_mb=iteration.memory_mb,
        images_per_pass=iteration.images_per_pass,
        training_images=batches * min(config.teachers.batch_size, len(images.train)),
        device=describe_device(machine.device),
        threads=torch.get_num_threads(),
    )


Totals = dict[str, float]
Read = Callable[[], float]


class _Meter:
    """A stage clock, and the mean of its totals over the steps after a warm-up; what no stage has is `OTHER`."""

    def __init__(self, read: Read, warm_up: int) -> None:
        self._read, self._warm_up, self._ticks, self._began = read, warm_up, 0, read()
        self._clock = StageClock(lambda: (read(),))
        self._whole = 0.0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The context of the steps."""
        with measured_by(self._clock):
            self._began = self._read()
            yield

    def tick(self, *_: object) -> None:
        """A step has ended."""
        now = self._read()
        self._ticks += 1
        if self._ticks <= self._warm_up:
            self._clock.reset()
            self._began = self._read()
        else:
            self._whole = now - self._began

    def means(self) -> Totals:
        """Of a step."""
        steps = max(self._ticks - self._warm_up, 1)
        found = {name: total / steps for name, (total,) in self._clock.totals.items()}
        return found | {OTHER: max(self._whole / steps - sum(found.values()), 0.0)}


class _Iteration:
    """Iterations of a configuration, and what they took."""

    def __init__(self, images: ImageSet, config: RunConfig, ipc: Ipc) -> None:
        self.images, self.config, self.ipc = images, config, ipc
        self.memory_mb = 0.0
        self.images_per_pass: int | None = None

    def measure(self, machine: Compute, steps: int, read: Read, warm_up: int = WARM_UP) -> Totals:
        """Readings of the stages of an iteration, a mean over ``steps``."""
        config, loop = self.config, loop_of(self.config)
        few = replace(config.distill, iterations=warm_up + steps, real_batches="random", num_clusters=None)
        short = config.model_copy(update={"distill": few, "machine": config.machine.model_copy(update={"log": None})})
        networks = loop.needs(config).untrained(self.images, config, machine)
        meter = _Meter(read, warm_up)
        control = RunControl(on_iteration=meter.tick, log_every=10**9)
        earlier = read_earlier(config.distill, self.images)
        with meter.running():
            made = loop.run(self.images, networks, short, machine, ipc=self.ipc, control=control, extend=earlier)
        if warm_up:
            self.memory_mb, self.images_per_pass = made.peak_memory_mb, made.images_per_pass
        return meter.means()


def _training_step(
    images: ImageSet, config: RunConfig, machine: Compute, steps: int, read: Read, warm_up: int = WARM_UP
) -> Totals:
    """Readings of the stages of an optimizer step of a teacher, timed as epochs of one batch."""
    recipe = build_teacher_recipe(config)
    at = torch.randperm(len(images.train), generator=generator(0, "plan"))[: recipe.batch_size]
    module = on_device(network_for(images, config.teachers.network, seed=0), machine.device)
    meter = _Meter(read, warm_up)
    with meter.running():
        fit(
            module,
            images.train.images[at],
            images.train.labels[at],
            recipe=replace(recipe, epochs=warm_up + steps),
            statistics=images.statistics,
            generator=generator(0, "plan"),
            forward=compiled(module, machine.compile_networks),
            precision=machine.precision,
            after_epoch=meter.tick,
        )
    return meter.means()


def _counted(measure: Callable[[Read], Totals]) -> Totals:
    """What a measurement finds if it reads operations in place of time."""
    with kernels.switched_off(), FlopCounterMode(display=False) as counter:
        return measure(lambda: float(counter.get_total_flops()))


def _times(totals: Totals, factor: float) -> Totals:
    return {name: factor * value for name, value in totals.items()}


def _costs(unit: str, seconds: Totals, operations: Totals, ceiling: Mapping[bool, float]) -> Iterator[StageCost]:
    """The stages of a unit, the longest first; ``ceiling`` is the rate of those of networks, and of the others."""
    total = sum(seconds.values())
    for name, own in sorted(seconds.items(), key=lambda item: -item[1]):
        done = 0.0 if name == OTHER else operations.get(name, 0.0)  # what is set up before a step counts there
        rate = done / own if own else 0.0
        yield StageCost(unit, name, own, done, own / total if total else 0.0, rate / ceiling[name in OF_NETWORKS])
