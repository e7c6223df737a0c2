"""Comparisons: methods side by side at the same storage, under the same recipe, with rows for results files."""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ncfm._utils.checks import check_at_least, check_known, check_positive
from ncfm._utils.files import write_json, write_text
from ncfm._utils.locks import sole_user
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.seeding import generator
from ncfm._utils.types import Interval, LabelledImages
from ncfm.baselines import BY_TEACHERS, select
from ncfm.config.build import Machine, build_protocol, build_targets
from ncfm.config.methods import METHODS, Method, read_ablation
from ncfm.config.resolve import (
    Settings,
    check_folder,
    describe_run,
    judged_on,
    matches_trajectories,
    needs_teachers,
    resolve_config,
    variant_of,
)
from ncfm.config.schema import RunConfig, TeachersConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation import DistillResult
from ncfm.distillation.checkpoint import has_state
from ncfm.evaluation import EvaluationResult, equal_steps, interval
from ncfm.results.files import append_rows
from ncfm.results.image_grid import save_image_grid
from ncfm.results.plots import CostPoint
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.synthetic_set import SCORES_FILE, SyntheticSet, read_scores
from ncfm.training.experts import ExpertPool
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.stages import PICTURE_FILE, distill_into, judge, prepare, scores, train_pool, train_teachers


@dataclass(frozen=True)
class Scored:
    """One method of a comparison, of one seed."""

    name: str  # as asked for
    method: str
    variant: str
    seed: int
    evaluation: EvaluationResult
    storage: float  # stored images per class, soft labels counted as images
    teacher_seconds: float | None  # teachers or experts took; None where none are needed
    distill_seconds: float | None = None
    iterations: int | None = None
    distill_memory_mb: float | None = None  # that iterations took at most, beside the data and the program
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
        """Of the accuracy: over the seeds' means, as students of one set share its luck; over students of one seed."""
        if len(self.scored) == 1:
            return self.first.evaluation.interval
        return interval([scored.evaluation.accuracy_mean for scored in self.scored])

    def median(self, name: str) -> float | None:
        """Of a number of `Scored`, over the seeds; None if it is not there."""
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
    ipc: int,
    methods: Sequence[str] = ("ncfm", "random", "herding", "mosaic", "full"),
    ablations: Sequence[str] = (),
    seeds: int = 1,
    seconds: float | None = None,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> list[Scored]:
    """Put methods side by side: the same storage, the same students, the same recipe.

    What comes to the same settings under two names, such as the usual form in two ablations, is made once.

    Args:
        data, ipc, recipe, settings, seed, data_dir, reporter: as in `distill`; settings hold for all methods, over
            what makes a method.
        methods: names of `ncfm.config.methods.METHODS`; may be none if there are ablations.
        ablations: names of `ncfm.config.methods.ablation_names`, or paths: their variants come after the methods.
        seeds: sets made by each method, with seeds from ``seed`` on; teachers and experts are the same for all.
        seconds: distil each for so long, in place of its iterations. Teachers and experts come on top.
        out: folder with a run folder for every method; methods that it already has are not done again.
        results: a CSV file to which a row for every method and seed is appended.

    Returns:
        A result for every method and seed; `entries` joins the seeds.

    Raises:
        NcfmError: for unknown methods, ablations, data or settings.
    """
    check_at_least(ipc, 1, "ipc (images per class)")
    check_at_least(seeds, 1, "seeds")
    if seconds is not None:
        check_positive(seconds, "seconds")
    chosen = choose_methods(methods, ablations)
    config = resolve_config(data, ipc, recipe, settings, seed)
    folder = None if out is None else Path(out).expanduser()
    with sole_user(folder):
        images, machine = prepare(data, config, data_dir)
        pools = _Pools(images, machine, reporter or Silent())
        jobs = []
        for name, method in chosen.items():
            budget = {"distill.seconds": seconds} if seconds is not None and method.distilled else {}
            for own_seed in range(config.seed, config.seed + seeds):
                shared = {"teachers.seed": config.seed} if own_seed != config.seed else {}
                own = method.settings_over(config, {**budget, **shared, **(settings or {})})
                place = _folder_of(name, folder, own_seed - config.seed)
                jobs.append(_Job(name, method, resolve_config(data, ipc, recipe, own, own_seed), place))
        scored: list[Scored] = []
        made: dict[tuple[str, str], Scored] = {}
        for job in jobs:
            if job.same not in made:
                places = [other.place for other in jobs if other.same == job.same]
                place = next((place for place in places if place is not None and place.exists()), job.place)
                made[job.same] = _score(job.name, job.method, pools, job.config, ipc, place)
                if results is not None:
                    append_rows(Path(results), [accuracy_row(made[job.same], images.name, ipc, job.config)])
            scored.append(replace(made[job.same], name=job.name))
        return scored


def choose_methods(methods: Sequence[str], ablations: Sequence[str]) -> dict[str, Method]:
    """Methods by the names of their table rows: those of `METHODS`, and ``ablation: variant``.

    Raises:
        NcfmError: for unknown ones, or none at all.
    """
    check_at_least(len(methods) + len(ablations), 1, "number of methods")
    for name in methods:
        check_known(name, tuple(METHODS), "method")
    chosen = {name: METHODS[name] for name in methods}
    for ablation in ablations:
        for label, method in read_ablation(ablation).items():
            chosen[f"{Path(ablation).stem}: {label}"] = method
    return chosen


CSV_COLUMNS = (
    *("name", "method", "variant", "seed", "accuracy_mean", "accuracy_std", "accuracy_low", "accuracy_high"),
    *("storage", "num_images", "iterations", "distill_seconds", "seconds_per_iteration", "distill_memory_mb"),
    *("teacher_seconds", "network", "protocol"),
)


def write_csv(path: Path, scored: Sequence[Scored]) -> None:
    """A row for every method and seed: plain numbers, as in the table."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, CSV_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(one.as_dict() for one in scored)
    write_text(path, buffer.getvalue())


def cost_points(found: Sequence[Entry]) -> list[CostPoint]:
    """What methods came to and what they took; none if none of them distilled."""
    points = [
        CostPoint(entry.first.name, entry.interval, entry.median("distill_seconds"), entry.median("distill_memory_mb"))
        for entry in found
    ]
    return points if any(point.is_distilled for point in points) else []


def accuracy_row(scored: Scored, dataset: str, ipc: int, config: RunConfig) -> AccuracyRow:
    """The results row of a scored method, with the conditions it was measured under."""
    evaluation = scored.evaluation
    looked = config.evaluate.looks or build_protocol(config).looks
    return AccuracyRow(
        dataset=judged_on(dataset, config),
        ipc=ipc,
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
    """The run folder of a method; of later seeds in a folder beside."""
    if folder is None:
        return None
    plain = re.sub(r"[^A-Za-z0-9.=]+", "-", name).strip("-")
    return folder / (plain if repeat == 0 else f"{plain}.seed{repeat}")


@dataclass(frozen=True)
class _Job:
    """A set to make and judge."""

    name: str
    method: Method
    config: RunConfig
    place: Path | None

    @property
    def same(self) -> tuple[str, str]:
        """What jobs have in common that come to the same."""
        return self.method.name, self.config.model_dump_json()


class _Pools:
    """Teachers and experts, made when a method first needs them."""

    def __init__(self, images: ImageSet, machine: Machine, reporter: Reporter) -> None:
        self.images, self.machine, self.reporter = images, machine, reporter
        self._made: dict[str, TeacherPool | ExpertPool] = {}

    def for_distilling(self, config: RunConfig) -> TeacherPool | ExpertPool:
        """What the configuration's objective matches."""
        if not matches_trajectories(config) and needs_teachers(config):
            return self.teachers(config)
        key = repr((_seeded(config.teachers, config.seed), config.trajectory, matches_trajectories(config)))
        if key not in self._made:
            self._made[key] = train_pool(self.images, config, self.machine, self.reporter)
        return self._made[key]

    def teachers(self, config: RunConfig) -> TeacherPool:
        """Trained teachers, whatever the objective."""
        key = repr(_seeded(config.teachers, config.seed))
        if key not in self._made:
            self._made[key] = train_teachers(self.images, config, self.machine, self.reporter)
        pool = self._made[key]
        assert isinstance(pool, TeacherPool)
        return pool


def _seeded(teachers: TeachersConfig, seed: int) -> TeachersConfig:
    """The settings of teachers with the seed that they come to."""
    return teachers if teachers.seed is not None else teachers.model_copy(update={"seed": seed})


def _score(name: str, method: Method, pools: _Pools, config: RunConfig, ipc: int, folder: Path | None) -> Scored:
    """Make and judge one method's set, or take what its folder already has."""
    images, machine, reporter = pools.images, pools.machine, pools.reporter
    variant = variant_of(images.name, ipc, config, distilled=method.distilled, usual=METHODS_BY_ROW[method.name])
    teachers = pools.teachers(config) if config.evaluate.labels == "teacher" else None
    asked = None if teachers is None else teachers.seconds
    facts: dict[str, Any] = {"teacher_seconds": asked, "storage": float(ipc)}
    facts["training_images"] = len(images.train)
    soft = build_targets(config, None, teachers) if teachers is not None else None
    protocol = build_protocol(config, soft)
    if method.distilled:
        pool = pools.for_distilling(config)
        result = _distill_or_load(pools, pool, config, ipc, folder, f"distilling {name}", method.name, variant)
        train = result.synthetic.decoded()
        soft = build_targets(config, result.synthetic.soft_labels, teachers)
        protocol = build_protocol(config, soft)
        facts |= {
            "teacher_seconds": pool.seconds if needs_teachers(config) else None,
            "distill_seconds": result.seconds,
            "iterations": result.iterations,
            "distill_memory_mb": result.peak_memory_mb,
            "storage": result.synthetic.storage,
        }
    elif method.name == "full":
        train = LabelledImages(images.train.images, images.train.labels)
        reference = images.num_classes * ipc * config.distill.factor**2
        variant = ",".join(filter(None, ["equal-steps", variant]))
        protocol = equal_steps(protocol, len(images.train), reference)
        facts["storage"] = float(math.ceil(len(images.train) / images.num_classes))
    else:
        pool = pools.teachers(config)
        chosen = _select(method.name, pools, pool, config, ipc, folder)
        train = chosen.decoded()
        facts["teacher_seconds"] = pool.seconds if method.name in BY_TEACHERS else asked
    evaluation = judge(train, images, config, machine, f"evaluating {name}", reporter, soft=soft, protocol=protocol)
    if folder is not None:
        known = [entry for entry in read_scores(folder / SCORES_FILE) if entry.get("method") == name]
        entry = scores(evaluation) | {"method": name, "seed": config.seed}
        if entry not in known:
            write_json(folder / SCORES_FILE, [*known, entry])
    return Scored(name, method.name, variant, config.seed, evaluation, **facts)


METHODS_BY_ROW: Mapping[str, Method] = {method.name: method for method in reversed(METHODS.values())}
"""The first of `METHODS` for each name of results rows: what the row's variant is told against."""


def _select(
    method: str, pools: _Pools, pool: TeacherPool, config: RunConfig, ipc: int, folder: Path | None
) -> SyntheticSet:
    """A selection of real images, with its picture."""
    rng = generator(config.seed, method)
    chosen = select(method, pools.images, pool, ipc=ipc, factor=config.distill.factor, generator=rng)
    if folder is not None:
        save_image_grid(folder / PICTURE_FILE, chosen.images, chosen.class_names)
    return chosen


def _distill_or_load(
    pools: _Pools,
    pool: TeacherPool | ExpertPool,
    config: RunConfig,
    ipc: int,
    folder: Path | None,
    stage: str,
    method: str,
    variant: str,
) -> DistillResult:
    """Distil, continuing what the folder has."""
    images = pools.images
    resume = folder is not None and has_state(folder)
    check_folder(folder, describe_run(images.name, ipc, config), resume)
    with sole_user(folder):
        return distill_into(
            images,
            pool,
            config,
            pools.machine,
            ipc=ipc,
            folder=folder,
            resume=resume,
            reporter=pools.reporter,
            stage=stage,
            method=method,
            variant=variant,
        )
