"""The jobs of a comparison: one set each, which is made or selected, then evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncfm._utils.compute import Compute
from ncfm._utils.files import write_json
from ncfm._utils.locks import sole_user
from ncfm._utils.progress import Reporter
from ncfm._utils.types import LabelledImages
from ncfm.config.build import build_protocol, build_targets
from ncfm.config.loops import loop_of
from ncfm.config.methods import Method
from ncfm.config.pools import TEACHERS, P, PoolSource
from ncfm.config.resolve import check_folder, describe_run, variant_of
from ncfm.config.schema import RunConfig
from ncfm.config.selections import RealImages, Selection
from ncfm.data.image_set import ImageSet
from ncfm.distillation.checkpoint import has_checkpoint
from ncfm.evaluation import Protocol as EvaluationProtocol
from ncfm.synthetic.counts import Spec, counts_for
from ncfm.synthetic.folders import SCORES_FILE
from ncfm.synthetic.image_grid import save_image_grid
from ncfm.synthetic.score_file import read_scores, without_times
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.training.teacher_accuracy import mean_accuracy
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.changed_data import check_data_of_run
from ncfm.workflows.checks import check_distillation, check_selections, check_students
from ncfm.workflows.distilling import PICTURE_FILE, distill_into
from ncfm.workflows.evaluating import evaluate_images, scores
from ncfm.workflows.preparation import obtain
from ncfm.workflows.scored import Scored


@dataclass(frozen=True)
class Job:
    """A set to make and to evaluate."""

    name: str
    method: Method
    config: RunConfig
    place: Path | None
    choices: Mapping[str, Any]  # settings that were chosen for the data, as facts

    @property
    def same(self) -> tuple[str, str]:
        """Equal for jobs with the same result."""
        return self.method.name, self.config.model_dump_json()


class Pools:
    """Networks, obtained when a method first needs them."""

    def __init__(self, images: ImageSet, machine: Compute, reporter: Reporter) -> None:
        self.images, self.machine, self.reporter = images, machine, reporter
        self._obtained: dict[tuple[str, str], Any] = {}

    def get(self, source: PoolSource[P], config: RunConfig) -> P:
        """The networks of a source under a configuration, the same for all that need the same."""
        key = (source.name, source.key(config))
        if key not in self._obtained:
            self._obtained[key] = obtain(source, self.images, config, self.machine, self.reporter)
        networks: P = self._obtained[key]
        return networks


def check_job(job: Job, images: ImageSet, machine: Compute, ipc: Spec) -> None:
    """Check what would fail after minutes of work.

    Raises:
        NcfmError: for settings that do not fit the data or each other, and a folder with another run, or with a set of
            other images.
    """
    counts = counts_for(ipc, images.train.counts)
    check_students(images, job.config)
    if job.method.distils:
        check_distillation(images, job.config, machine, counts)
        _check_place(job, images, ipc)
    elif isinstance(job.method.selection, RealImages):
        check_selections(images, [job.method.selection.name], counts, job.config.distill.factor)
    elif job.method.selection is not None:
        job.method.selection.protocol(build_protocol(job.config), images, job.config, counts)  # raises what it will
    if job.place is not None and has_checkpoint(job.place):
        check_data_of_run(job.place, images)


def _check_place(job: Job, images: ImageSet, ipc: Spec) -> bool:
    """Whether the folder of a job has a run to resume.

    Raises:
        NcfmError: if that run has other settings.
    """
    resume = job.place is not None and has_checkpoint(job.place)
    check_folder(job.place, describe_run(images.name, ipc, job.config), resume)
    return resume


@dataclass(frozen=True)
class _Made:
    """A set, ready for its students."""

    train: LabelledImages
    targets: StudentTargets | None
    protocol: EvaluationProtocol
    variant: str
    facts: dict[str, Any]  # of `Scored`


def score_job(job: Job, pools: Pools, ipc: Spec) -> Scored:
    """Make and evaluate one set, or take what its folder already has."""
    images, machine, reporter, config = pools.images, pools.machine, pools.reporter, job.config
    teachers = pools.get(TEACHERS, config) if config.evaluate.labels == "teacher" else None
    selection = job.method.selection
    if selection is None:
        made = _distilled(job, pools, ipc, teachers)
    else:
        made = _selected(job, selection, pools, ipc, teachers)
    evaluation = evaluate_images(
        made.train,
        images,
        config,
        machine,
        f"evaluating {job.name}",
        reporter,
        soft=made.targets,
        protocol=made.protocol,
    )
    if job.place is not None:
        known = [entry for entry in read_scores(job.place / SCORES_FILE) if entry.get("method") == job.name]
        entry = scores(evaluation) | {"method": job.name, "seed": config.seed}
        if without_times(entry) not in map(without_times, known):
            write_json(job.place / SCORES_FILE, [*known, entry])
    facts = made.facts | {"training_images": len(images.train)}
    return Scored(job.name, job.method.name, made.variant, config.seed, evaluation, **facts)


def _selected(job: Job, selection: Selection, pools: Pools, ipc: Spec, teachers: TeacherPool | None) -> _Made:
    """A selection of real images, with its picture."""
    images, config = pools.images, job.config
    pool = None if selection.needs is None else pools.get(selection.needs, config)
    counts = counts_for(ipc, images.train.counts)
    chosen = selection.select(images, pool, config, counts)
    if job.place is not None and chosen.synthetic is not None:
        drawn = chosen.synthetic
        save_image_grid(job.place / PICTURE_FILE, drawn.images, drawn.class_names, counts=drawn.counts)
    targets = None if teachers is None else build_targets(config, None, teachers)
    named = variant_of(images.name, ipc, config, method=job.method)
    trained = pool or teachers
    return _Made(
        chosen.train,
        targets,
        selection.protocol(build_protocol(config, targets), images, config, counts),
        ",".join(filter(None, [selection.variant, named])),
        {"storage": chosen.storage, **_facts_of(trained)},
    )


def _distilled(job: Job, pools: Pools, ipc: Spec, teachers: TeacherPool | None) -> _Made:
    """A distilled set, continued from what the folder has."""
    images, config, folder = pools.images, job.config, job.place
    source = loop_of(config).needs(config)
    pool = pools.get(source, config)
    variant = variant_of(images.name, ipc, config, method=job.method)
    resume = _check_place(job, images, ipc)
    with sole_user(folder):
        result = distill_into(
            images,
            pool,
            config,
            pools.machine,
            ipc=ipc,
            folder=folder,
            resume=resume,
            reporter=pools.reporter,
            stage=job.name,
            method=job.method.name,
            variant=variant,
            choices=job.choices,
        )
    targets = build_targets(config, result.synthetic.soft_labels, teachers)
    facts = {
        **_facts_of(pool if source.is_trained else None),
        "distill_seconds": result.seconds,
        "iterations": result.iterations,
        "distill_memory_mb": result.peak_memory_mb,
        "storage": result.synthetic.storage,
    }
    return _Made(result.synthetic.decoded(), targets, build_protocol(config, targets), variant, facts)


def _facts_of(pool: Any) -> dict[str, Any]:
    """Time and accuracy of the networks that a method used; None for none."""
    if pool is None:
        return {"teacher_seconds": None}
    return {
        "teacher_seconds": pool.seconds,
        "teacher_accuracy": mean_accuracy(pool.accuracies),
    }
