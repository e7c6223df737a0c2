"""Comparisons: methods at the same storage, under the same recipe, with rows for results files."""

from __future__ import annotations

import csv
import io
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.compute import Compute
from ncfm._utils.files import write_json, write_text
from ncfm._utils.locks import sole_user
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.types import Interval, LabelledImages
from ncfm.config.build import build_protocol, build_targets
from ncfm.config.loops import loop_of
from ncfm.config.methods import Method, method_named, read_ablation
from ncfm.config.pools import TEACHERS, P, PoolSource
from ncfm.config.resolve import Settings, check_folder, describe_run, judged_on, variant_of
from ncfm.config.schema import RunConfig
from ncfm.config.selections import RealImages, Selection
from ncfm.data.image_set import ImageSet
from ncfm.distillation.checkpoint import has_checkpoint
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation import Protocol as EvaluationProtocol
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.results.bars import CostPoint
from ncfm.results.checking import check_results
from ncfm.results.files import append_rows
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.counts import Ipc, IpcSpec, Spec, checked_spec, counts_for, mean_of
from ncfm.synthetic.image_grid import save_image_grid
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.synthetic.storage import CONFIG_FILE, SCORES_FILE, read_scores, without_times
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.changed_data import check_data_of_run
from ncfm.workflows.checks import check_distillation, check_selections, check_students
from ncfm.workflows.defaults import Asked, described
from ncfm.workflows.stages import PICTURE_FILE, distill_into, evaluate_images, obtain, scores

MOST_SEEDS = 1000


@dataclass(frozen=True)
class Scored:
    """One method of a comparison, of one seed."""

    name: str  # in the comparison
    method: str
    variant: str
    seed: int
    evaluation: EvaluationResult
    storage: float  # stored images per class, soft labels counted as images
    teacher_seconds: float | None  # training of teachers or experts; None if none are needed
    teacher_accuracy: float | None = None  # mean of the teachers on the test split; None if there are none
    distill_seconds: float | None = None
    iterations: int | None = None
    distill_memory_mb: float | None = None  # peak of the iterations, in addition to the data and the program
    training_images: int | None = None  # of the real set

    @property
    def seconds_per_iteration(self) -> float | None:
        """Mean time of an iteration."""
        return self.distill_seconds / self.iterations if self.distill_seconds and self.iterations else None

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for JSON."""
        own = {name: value for name, value in vars(self).items() if name != "evaluation"}
        return own | {"seconds_per_iteration": self.seconds_per_iteration} | scores(self.evaluation)


@dataclass(frozen=True)
class Entry:
    """One method of a comparison, over all its seeds."""

    scored: tuple[Scored, ...]  # at least one

    @property
    def first(self) -> Scored:
        """That of the first seed."""
        return self.scored[0]

    @property
    def interval(self) -> Interval:
        """Of the accuracy: over the means of several seeds, since students of one set are not independent; of one seed
        over its students."""
        if len(self.scored) == 1:
            return self.first.evaluation.interval
        return accuracy_interval([scored.evaluation.accuracy_mean for scored in self.scored])

    def median(self, name: str) -> float | None:
        """Of a number of `Scored`, over the seeds; None if it has no value."""
        values = [value for value in (getattr(scored, name) for scored in self.scored) if value is not None]
        return statistics.median(values) if values else None


def entries(scored: Iterable[Scored]) -> list[Entry]:
    """Results of several seeds by method, in the order of their first."""
    groups: dict[str, list[Scored]] = {}
    for one in scored:
        groups.setdefault(one.name, []).append(one)
    return [Entry(tuple(group)) for group in groups.values()]


def compare(
    data: str | ImageSet,
    *,
    ipc: IpcSpec,
    methods: Sequence[str] = ("ncfm", "random", "herding", "mosaic", "full"),
    ablations: Sequence[str] = (),
    seeds: int = 1,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> list[Scored]:
    """Compare methods: the same storage, the same students, the same recipe.

    Two names for the same settings, such as the default in two ablations, make one set.

    Args:
        data, ipc, recipe, settings, seed, data_dir, reporter: as in `distill`; settings hold for all methods and
            override their own. ``{"distill.seconds": 600}`` gives every method the same time, without teachers.
        methods: names of `ncfm.config.methods.METHODS`, or ``module:callable`` for an objective of your own in the
            loop of NCFM; may be empty if there are ablations.
        ablations: names of `ncfm.config.methods.ablation_names`, or paths: their variants come after the methods.
        seeds: sets made by each method, with seeds from ``seed`` on; teachers and experts are the same for all.
        out: folder with a run folder for every method; methods that it already has are not run again.
        results: a CSV file to which a row for every method and seed is appended.

    Returns:
        A result for every method and seed; `entries` joins the seeds.

    Raises:
        NcfmError: for unknown methods, ablations, data or settings, or if ``out`` has sets made from other images.
    """
    spec = checked_spec(ipc)
    check_at_least(seeds, 1, "seeds")
    if seeds > MOST_SEEDS:
        raise InputError(f"Expected at most {MOST_SEEDS} seeds, got {seeds:,}; each makes a set by every method.")
    chosen = choose_methods(methods, ablations)
    check_results(results, AccuracyRow)
    folder, reporter = None if out is None else Path(out).expanduser(), reporter or Silent()
    distils = any(method.distils for method in chosen.values())
    asked = Asked(data, spec, recipe, settings or {}, seed, distils)
    before = asked.before_data(_any_run(folder))
    with sole_user(folder):
        images, machine, config, choices = asked.prepare(before, data_dir, reporter)
        pools = _Pools(images, machine, reporter)
        jobs = []
        for name, method in chosen.items():
            for own_seed in range(config.seed, config.seed + seeds):
                shared = {"teachers.seed": config.seed} if own_seed != config.seed else {}
                own = method.settings_over(config, {**shared, **(settings or {})})
                place = _folder_of(name, folder, own_seed - config.seed)
                of_job = replace(asked, settings=own, seed=own_seed).config(choices)
                jobs.append(_Job(name, method, of_job, place, described(choices)))
        counts = counts_for(spec, images.train.counts)
        spec = counts if isinstance(counts, int) else spec  # equal classes are one number
        for job in jobs:  # before minutes of work
            check_students(images, job.config)
            if job.method.distils:
                check_distillation(images, job.config, machine, counts)
            elif isinstance(job.method.selection, RealImages):
                check_selections(images, [job.method.selection.name], counts, job.config.distill.factor)
            if job.place is not None and has_checkpoint(job.place):
                check_data_of_run(job.place, images)
        scored: list[Scored] = []
        made: dict[tuple[str, str], Scored] = {}
        for job in jobs:
            if job.same not in made:
                places = [other.place for other in jobs if other.same == job.same]
                place = next((place for place in places if place is not None and place.exists()), job.place)
                made[job.same] = _score(replace(job, place=place), pools, spec)
                if results is not None:
                    append_rows(Path(results), [accuracy_row(made[job.same], images.name, counts, job.config)])
            scored.append(replace(made[job.same], name=job.name))
        return scored


def _any_run(folder: Path | None) -> Path | None:
    """A run folder of an earlier comparison, whose choices hold for the others; None if there is none."""
    found = [] if folder is None else sorted(folder.glob(f"*/{CONFIG_FILE}"))
    return found[0].parent if found else None


def choose_methods(methods: Sequence[str], ablations: Sequence[str]) -> dict[str, Method]:
    """Methods by the names of their table rows: those of `method_named`, and ``ablation: variant``.

    Raises:
        NcfmError: for unknown ones, or none at all.
    """
    check_at_least(len(methods) + len(ablations), 1, "number of methods")
    chosen = {name: method_named(name) for name in methods}
    for ablation in ablations:
        for label, method in read_ablation(ablation).items():
            chosen[f"{Path(ablation).stem}: {label}"] = method
    return chosen


CSV_COLUMNS = (
    *("name", "method", "variant", "seed", "accuracy_mean", "accuracy_std", "accuracy_low", "accuracy_high"),
    *("storage", "num_images", "iterations", "distill_seconds", "seconds_per_iteration", "distill_memory_mb"),
    *("teacher_seconds", "teacher_accuracy", "network", "protocol"),
)


def write_csv(path: Path, scored: Sequence[Scored]) -> None:
    """A row for every method and seed: plain numbers, as in the table."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(one.as_dict() for one in scored)
    write_text(path, buffer.getvalue())


def cost_points(found: Sequence[Entry]) -> list[CostPoint]:
    """Accuracy and cost of methods; empty if none of them distils."""
    points = [
        CostPoint(entry.first.name, entry.interval, entry.median("distill_seconds"), entry.median("distill_memory_mb"))
        for entry in found
    ]
    return points if any(point.is_distilled for point in points) else []


def accuracy_row(scored: Scored, dataset: str, ipc: Ipc, config: RunConfig) -> AccuracyRow:
    """The results row of a scored method, with the conditions of the measurement."""
    evaluation = scored.evaluation
    looked = config.evaluate.looks or build_protocol(config).looks
    return AccuracyRow(
        dataset=judged_on(dataset, config),
        ipc=mean_of(ipc),
        method=scored.method,
        variant=scored.variant,
        network=evaluation.network,
        protocol=evaluation.protocol,
        accuracy_mean=evaluation.interval.mean,
        accuracy_std=evaluation.interval.std,
        accuracy_low=evaluation.interval.low,
        accuracy_high=evaluation.interval.high,
        accuracy_best_mean=evaluation.accuracy_best_mean if looked > 1 else None,
        num_runs=len(evaluation.accuracies),
        teacher_seconds=scored.teacher_seconds,
        distill_seconds=scored.distill_seconds,
        iterations=scored.iterations,
        distill_memory_mb=scored.distill_memory_mb,
        storage=scored.storage,
        evaluate_seconds=evaluation.seconds,
        seed=config.seed,
        training_images=scored.training_images,
        **evaluation.students[-1].conditions,
    )


def _folder_of(name: str, folder: Path | None, repeat: int) -> Path | None:
    """The run folder of a method; later seeds have folders next to it."""
    if folder is None:
        return None
    plain = re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-")
    return folder / (plain if repeat == 0 else f"{plain}.seed{repeat}")


@dataclass(frozen=True)
class _Job:
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


class _Pools:
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


@dataclass(frozen=True)
class _Made:
    """A set, ready for its students."""

    train: LabelledImages
    targets: StudentTargets | None
    protocol: EvaluationProtocol
    variant: str
    facts: dict[str, Any]  # of `Scored`


def _score(job: _Job, pools: _Pools, ipc: Spec) -> Scored:
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


def _selected(job: _Job, selection: Selection, pools: _Pools, ipc: Spec, teachers: TeacherPool | None) -> _Made:
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


def _distilled(job: _Job, pools: _Pools, ipc: Spec, teachers: TeacherPool | None) -> _Made:
    """A distilled set, continued from what the folder has."""
    images, config, folder = pools.images, job.config, job.place
    source = loop_of(config).needs(config)
    pool = pools.get(source, config)
    variant = variant_of(images.name, ipc, config, method=job.method)
    resume = folder is not None and has_checkpoint(folder)
    check_folder(folder, describe_run(images.name, ipc, config), resume)
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
        "teacher_accuracy": statistics.fmean(pool.accuracies) if pool.accuracies else None,
    }
