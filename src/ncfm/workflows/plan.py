"""Plans: the predicted time and memory of a run, from a few timed steps of each of its stages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ncfm._utils.checks import check_at_least
from ncfm._utils.device import available_memory, describe_device, peak_memory_mb
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.loops import loop_of
from ncfm.config.pools import TEACHERS, PoolSource
from ncfm.config.resolve import Settings
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.synthetic.counts import IpcSpec, checked_spec, counts_for
from ncfm.training.epoch_states import bytes_of_states
from ncfm.training.teachers import network_for
from ncfm.workflows.checks import check_distillation, check_students
from ncfm.workflows.defaults import Asked, pilot_recipe
from ncfm.workflows.estimate import PLAN_SHARE, Estimate, estimate
from ncfm.workflows.timing import WARM_UP, Stage, Timing


@dataclass(frozen=True)
class Plan:
    """The predicted time and memory of a run."""

    stages: tuple[Stage, ...]
    peak_memory_mb: float  # of this process after a few steps of every stage; by arithmetic if these were made smaller
    available_memory_mb: float | None  # before them; None if unknown
    iteration_memory_mb: float  # of iterations, above what the process held before them
    images_per_pass: int | None  # synthetic images in one pass with gradient; None if all fit into one
    device: str
    threads: int
    estimate: Estimate  # by arithmetic, before anything was timed
    memory_limit_mb: float | None  # that the timed steps stayed under; None if the free memory is unknown
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
    cache are not counted. The prediction assumes that the load of the machine does not change. First an estimate by
    arithmetic is reported. The timed steps use at most half of the free memory: where that does not suffice for those
    of the run, they have fewer images, and their time is scaled. Where a step takes long, fewer are timed.

    Args:
        data, ipc, recipe, settings, seed, data_dir, reporter: as in `ncfm.distill`. A pilot is not trained: if the
            cache has none, as many epochs are assumed as it can choose at most.
        steps: timed steps per stage, at least 1.

    Raises:
        NcfmError: for unknown data or settings, or data that do not fit the settings.

    >>> found = plan("cifar10", ipc=10)  # doctest: +SKIP
    >>> found.seconds, [stage.name for stage in found.stages]  # doctest: +SKIP
    """
    spec, reporter = checked_spec(ipc), reporter or Silent()
    check_at_least(steps, 1, "steps")
    asked = Asked(data, spec, recipe, settings or {}, seed)
    before = asked.before_data()
    images, machine, config, _ = asked.prepare(before, data_dir, reporter, train=False)
    counts = counts_for(spec, images.train.counts)
    check_distillation(images, config, machine, counts)
    check_students(images, config)
    free = available_memory(machine.device)
    loop = loop_of(config)
    sources: list[PoolSource[Any]] = [loop.needs(config)]
    if config.evaluate.labels == "teacher" and TEACHERS.name != sources[0].name:
        sources.append(TEACHERS)
    sources = [source for source in sources if source.is_trained]
    expected = estimate(images, config, machine, counts, sources, free)
    reporter.remark(f"{images.name}: by arithmetic {expected}")
    timing = Timing(images, config, machine, counts, steps, free, expected, reporter)
    reporter.begin("timing", (2 + len(sources)) * (WARM_UP + steps), unit="step")
    distilling, made = timing.distilling(loop)
    trainings = [timing.training(source) for source in sources]
    pilot = timing.pilot(pilot_recipe(config)) if before is None and asked.lacks_pilot(images, machine) else None
    evaluation = timing.evaluation()
    reporter.end()
    measured = peak_memory_mb(machine.device)
    return Plan(
        stages=(*([pilot] if pilot else []), *trainings, distilling, *evaluation),
        peak_memory_mb=max(measured, expected.peak_memory_mb) if timing.is_smaller else measured,
        available_memory_mb=None if free is None else free / 2**20,
        iteration_memory_mb=made.peak_memory_mb,
        images_per_pass=made.images_per_pass,
        device=describe_device(machine.device),
        threads=torch.get_num_threads(),
        estimate=expected,
        memory_limit_mb=None if free is None else PLAN_SHARE * free / 2**20,
        checkpoints_mb=_checkpoints_mb(images, config),
    )


def _checkpoints_mb(images: ImageSet, config: RunConfig) -> float:
    """MiB on disk of the weights that all teachers keep of their epochs; 0 if none are kept."""
    teachers = config.teachers
    if teachers.extractor != "checkpoint":
        return 0.0
    network = network_for(images, teachers.network, seed=0)
    return teachers.number * bytes_of_states(network, teachers.epochs) / 2**20
