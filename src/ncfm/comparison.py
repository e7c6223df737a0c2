"""Comparisons: methods side by side at the same storage, under the same recipe, with rows for results files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncfm._checks import check_at_least, check_known
from ncfm._files import write_json
from ncfm._seeding import generator
from ncfm._typing import LabelledImages
from ncfm.baselines import BY_FEATURES, SELECTIONS, select
from ncfm.build import Machine, build_protocol, build_targets
from ncfm.config import RunConfig, make_config, nest
from ncfm.data.images import ImageSet
from ncfm.distillation import DistillResult
from ncfm.distillation.state import STATE_FILE
from ncfm.evaluation import EvaluationResult, equal_steps
from ncfm.report.figures import save_image_grid
from ncfm.report.results import AccuracyRow, append_rows
from ncfm.runs import (
    PICTURE_FILE,
    SCORES_FILE,
    Reporter,
    Settings,
    Silent,
    check_folder,
    describe_run,
    distill_into,
    judge,
    prepare,
    read_scores,
    resolve_config,
    scores,
    train_teachers,
    variant_of,
)
from ncfm.teachers import TeacherPool

DISTILLED: dict[str, tuple[str, dict[str, Any]]] = {
    "ncfm": ("ncfm", {}),
    "gaussian": ("ncfm", {"frequencies.family": "gaussian"}),
    "mean": ("mean", {"objective.name": "mean"}),
}
"""Methods of `compare` that distil: the method of their rows, and the settings that make them so."""

METHODS = (*DISTILLED, *SELECTIONS, "full")


@dataclass(frozen=True)
class Scored:
    """One method of a comparison."""

    name: str  # as asked for
    method: str
    variant: str
    evaluation: EvaluationResult
    storage: float  # stored images per class, soft labels counted as images
    teacher_seconds: float | None
    distill_seconds: float | None


def compare(
    data: str | ImageSet,
    *,
    ipc: int,
    methods: Sequence[str] = ("ncfm", "random", "herding", "mosaic", "full"),
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> list[Scored]:
    """Put methods side by side: the same storage, the same students, the same recipe.

    Args:
        data, ipc, recipe, settings, seed, data_dir, reporter: as in `distill`.
        methods: of ncfm (learned frequencies), gaussian (ncfm with fixed ones), mean (mean matching), random, herding,
            kcenter, kmeans, mosaic (the undistilled start), full (the training split, as many optimizer steps).
        out: folder with a run folder for every method; methods that it already has are not done again.
        results: a CSV file to which a row for every method is appended.

    Raises:
        NcfmError: for unknown methods, data or settings.
    """
    check_at_least(ipc, 1, "ipc (images per class)")
    for method in methods:
        check_known(method, METHODS, "method")
    config = resolve_config(data, ipc, recipe, settings, seed)
    images, machine = prepare(data, config, data_dir)
    reporter = reporter or Silent()
    pool = train_teachers(images, config, machine, reporter)
    folder = None if out is None else Path(out).expanduser()
    scored = []
    for name in methods:
        scored.append(
            _score(name, images, pool, config, machine, ipc, None if folder is None else folder / name, reporter)
        )
        if results is not None:
            append_rows(Path(results), [accuracy_row(scored[-1], images.name, ipc, config)])
    return scored


def accuracy_row(scored: Scored, dataset: str, ipc: int, config: RunConfig) -> AccuracyRow:
    """The results row of a scored method, with the conditions it was measured under."""
    evaluation = scored.evaluation
    looked = config.evaluate.looks or build_protocol(config).looks
    return AccuracyRow(
        dataset=dataset,
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
        evaluate_seconds=evaluation.seconds,
        seed=config.seed,
        **evaluation.students[-1].conditions,
    )


def _score(
    name: str,
    images: ImageSet,
    pool: TeacherPool,
    config: RunConfig,
    machine: Machine,
    ipc: int,
    folder: Path | None,
    reporter: Reporter,
) -> Scored:
    """Make and judge one method's set, or take what its folder already has."""
    teacher_seconds: float | None = None
    distill_seconds: float | None = None
    method, changes = DISTILLED.get(name, (name, {}))
    config = make_config(config.model_dump(), nest(changes))
    variant = variant_of(images.name, ipc, config, distilled=name in DISTILLED)
    storage: float = ipc
    soft, protocol = None, build_protocol(config)
    if name in DISTILLED:
        result = _distill_or_load(images, pool, config, machine, ipc, folder, reporter, name)
        train, storage = result.synthetic.decoded(), result.synthetic.storage
        soft = build_targets(config, result.synthetic.soft_labels)
        protocol = build_protocol(config, soft)
        teacher_seconds, distill_seconds = pool.seconds, result.seconds
    elif name == "full":
        train = LabelledImages(images.train.images, images.train.labels)
        reference = images.num_classes * ipc * config.distill.factor**2
        variant = ",".join(filter(None, ["equal-steps", variant]))
        protocol = equal_steps(protocol, len(images.train), reference)
        storage = math.ceil(len(images.train) / images.num_classes)
    else:
        chosen = select(
            name, images, pool, ipc=ipc, factor=config.distill.factor, generator=generator(config.seed, name)
        )
        if folder is not None:
            save_image_grid(folder / PICTURE_FILE, chosen.images, chosen.class_names)
        train = chosen.decoded()
        teacher_seconds = pool.seconds if name in BY_FEATURES else None
    evaluation = judge(train, images, config, machine, f"{name}: students", reporter, soft=soft, protocol=protocol)
    if folder is not None:
        entries = [entry for entry in read_scores(folder / SCORES_FILE) if entry.get("method") == name]
        entry = scores(evaluation) | {"method": name, "seed": config.seed}
        if entry not in entries:
            write_json(folder / SCORES_FILE, [*entries, entry])
    return Scored(name, method, variant, evaluation, storage, teacher_seconds, distill_seconds)


def _distill_or_load(
    images: ImageSet,
    pool: TeacherPool,
    config: RunConfig,
    machine: Machine,
    ipc: int,
    folder: Path | None,
    reporter: Reporter,
    name: str,
) -> DistillResult:
    """Distil, continuing what the folder has."""
    resume = folder is not None and (folder / STATE_FILE).is_file()
    check_folder(folder, describe_run(images.name, ipc, config), resume)
    return distill_into(
        images, pool, config, machine, ipc=ipc, folder=folder, resume=resume, reporter=reporter, stage=name
    )
