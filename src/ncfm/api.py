"""The front functions: problem first, strategies by keyword, a result object back."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import torch

from ncfm._checks import NcfmError, check_at_least, check_known
from ncfm._device import describe_device, peak_memory_mb
from ncfm._files import content_hash, read_json, write_json
from ncfm._seeding import generator
from ncfm._typing import LabelledImages
from ncfm.baselines import SELECTIONS, select
from ncfm.build import (
    Machine,
    build_data,
    build_machine,
    build_protocol,
    build_teachers,
    run_distillation,
)
from ncfm.config import RunConfig, make_config, nest, read_recipe, recipe_names
from ncfm.data.images import ImageSet
from ncfm.distillation import DistillResult
from ncfm.distillation.state import STATE_FILE
from ncfm.evaluation import EvaluationResult, equal_steps, interval
from ncfm.evaluation import evaluate as evaluate_tensors
from ncfm.report.figures import save_image_grid
from ncfm.report.results import AccuracyRow, append_rows, code_version, today
from ncfm.synthetic import SyntheticSet
from ncfm.teachers import TeacherPool

CONFIG_FILE, PICTURE_FILE, SCORES_FILE, SET_FOLDER = "config.json", "images.png", "scores.json", "synthetic"

Settings = Mapping[str, Any]
"""Dotted settings, such as ``{"distill.iterations": 500}``."""

DISTILLED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "ncfm": ("ncfm", "", {}),
    "gaussian": ("ncfm", "gaussian", {"frequencies.family": "gaussian"}),
    "mean": ("mean", "", {"objective.name": "mean"}),
}
"""Methods of `compare` that distil: the method and variant of their rows, and the settings that make them so."""

METHODS = (*DISTILLED, *SELECTIONS, "full")


class Reporter(Protocol):
    """Whoever shows progress: told when a stage begins, how far it is, and when it ends."""

    def begin(self, stage: str, total: int) -> None:
        """A stage of ``total`` units begins."""
        ...

    def update(self, done: int, note: str = "") -> None:
        """``done`` units of the stage are finished; ``note`` is a short remark to show beside."""
        ...

    def end(self) -> None:
        """The stage is finished."""
        ...


class Silent:
    """A reporter that shows nothing."""

    def begin(self, stage: str, total: int) -> None:
        """Do nothing."""

    def update(self, done: int, note: str = "") -> None:
        """Do nothing."""

    def end(self) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Scored:
    """One method of a comparison."""

    name: str  # as asked for
    method: str
    variant: str
    evaluation: EvaluationResult
    storage: int  # stored images per class
    teacher_seconds: float | None
    distill_seconds: float | None


def resolve_config(
    data: str | ImageSet, ipc: int | None, recipe: str | None, settings: Settings | None, seed: int | None
) -> RunConfig:
    """The configuration of a run: settings over recipe over defaults.

    Without a recipe the one named ``<data>-ipc<ipc>`` is taken if the package has it; ``"none"`` asks for defaults.

    Raises:
        NcfmError: for unknown recipes and keys, and wrong values, all at once.
    """
    name = data if isinstance(data, str) else data.name
    fitting = f"{name}-ipc{ipc}"
    if recipe is None and fitting in recipe_names():
        recipe = fitting
    layer = read_recipe(recipe) if recipe not in (None, "none") else {}
    seeds = {} if seed is None else {"seed": seed}
    return make_config(layer, nest(settings or {}), seeds)


def load(path: str | Path) -> SyntheticSet:
    """A synthetic set from its folder or from a run folder.

    Raises:
        NcfmError: if there is none, or it is damaged.
    """
    return SyntheticSet.load(path)


def pretrain(
    data: str | ImageSet,
    *,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> TeacherPool:
    """Train the pool of teachers (or find it in the cache); distilling does this by itself when needed.

    Raises:
        NcfmError: for unknown data or settings, or a training that diverges.
    """
    config = resolve_config(data, None, recipe, settings, seed)
    images, machine = _prepare(data, config, data_dir)
    return _teachers(images, config, machine, reporter or Silent())


def distill(
    data: str | ImageSet,
    *,
    ipc: int,
    recipe: str | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    out: str | Path | None = None,
    resume: bool = False,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> DistillResult:
    """Distil a data set into ``ipc`` stored images per class by Neural Characteristic Function Matching.

    Args:
        data: a name or path (see `ncfm.data.load_images`), or an `ImageSet`.
        ipc: images per class in storage.
        recipe: a recipe's name or path; default ``<data>-ipc<ipc>`` if the package has it; "none" for defaults.
        settings: dotted settings over the recipe, such as ``{"distill.iterations": 500}``.
        seed: of everything random; default the recipe's.
        out: run folder; nothing is written without one.
        resume: continue the interrupted run in ``out``.
        data_dir: folder with data sets, looked at before the network; default ``NCFM_DATA``.
        reporter: is told the progress.

    Raises:
        NcfmError: for unknown or unfit data, settings or folders, in one sentence.
        ncfm.Interrupted: on Ctrl-C or SIGTERM, with the state saved.

    >>> result = distill("digits", ipc=1, settings={"distill.iterations": 2})  # doctest: +SKIP
    """
    check_at_least(ipc, 1, "ipc (images per class)")
    config = resolve_config(data, ipc, recipe, settings, seed)
    folder = None if out is None else Path(out).expanduser()
    name = data if isinstance(data, str) else data.name
    check_folder(folder, _description(name, ipc, config), resume)  # before minutes of work, not after
    images, machine = _prepare(data, config, data_dir)
    reporter = reporter or Silent()
    pool = _teachers(images, config, machine, reporter)
    return _distill(images, pool, config, machine, ipc=ipc, folder=folder, resume=resume, reporter=reporter)


def evaluate(
    synthetic: SyntheticSet | LabelledImages | str | Path,
    on: str | ImageSet | None = None,
    *,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> EvaluationResult:
    """Judge a set: train fresh students on it and test them on the real test split.

    Args:
        synthetic: a set, its folder, or plain labelled images in [0, 1].
        on: the real data; default: what the set was made from.
        settings: such as ``{"evaluate.runs": 10, "evaluate.network": "convnet3"}``; the set's own recipe otherwise.
        seed, data_dir, reporter: as in `distill`.

    Raises:
        NcfmError: if the set is damaged or does not fit the data.
    """
    if isinstance(synthetic, (str, Path)):
        synthetic = load(synthetic)
    facts = synthetic.facts if isinstance(synthetic, SyntheticSet) else {}
    data = on if on is not None else facts.get("data")
    if data is None:
        raise NcfmError("The set does not say what data it was made from; name the data to judge it on (--on).")
    stored = facts.get("config", {})
    own = {key: stored[key] for key in ("data", "evaluate", "seed") if key in stored}
    config = make_config(own, nest(settings or {}), {} if seed is None else {"seed": seed})
    images, machine = _prepare(data, config, data_dir)
    train = synthetic.decoded() if isinstance(synthetic, SyntheticSet) else synthetic
    if isinstance(synthetic, SyntheticSet) and synthetic.class_names != images.class_names:
        raise NcfmError(
            f"The set has classes {', '.join(synthetic.class_names[:5])}, ..., the data "
            f"{', '.join(images.class_names[:5])}, ...; judge it on the data it was made from."
        )
    return _evaluate(train, images, config, machine, "students", reporter or Silent())


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
        methods: of ncfm (learned frequencies), gaussian (ncfm with fixed ones), mean (mean matching), random,
            herding, mosaic (the undistilled start), full (the whole training split, as many optimizer steps).
        out: folder with a run folder for every method; methods that it already has are not done again.
        results: a CSV file to which a row for every method is appended.

    Raises:
        NcfmError: for unknown methods, data or settings.
    """
    check_at_least(ipc, 1, "ipc (images per class)")
    for method in methods:
        check_known(method, METHODS, "method")
    config = resolve_config(data, ipc, recipe, settings, seed)
    images, machine = _prepare(data, config, data_dir)
    reporter = reporter or Silent()
    pool = _teachers(images, config, machine, reporter)
    folder = None if out is None else Path(out).expanduser()
    scored = []
    for name in methods:
        scored.append(
            _score(name, images, pool, config, machine, ipc, None if folder is None else folder / name, reporter)
        )
        if results is not None:
            append_rows(Path(results), [accuracy_row(scored[-1], images.name, ipc, config, machine)])
    return scored


def accuracy_row(scored: Scored, dataset: str, ipc: int, config: RunConfig, machine: Machine) -> AccuracyRow:
    """The results row of a scored method, with the conditions of this process."""
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
        peak_memory_mb=peak_memory_mb(machine.device),
        device=describe_device(machine.device),
        threads=torch.get_num_threads(),
        seed=config.seed,
        command=command_line(),
        commit=code_version(),
        date=today(),
    )


def command_line() -> str:
    """The command that runs, as one would type it, without folders of this machine in its first word."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


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
    method, variant, changes = DISTILLED.get(name, (name, "", {}))
    storage = ipc
    protocol = build_protocol(config)
    if name in DISTILLED:
        config = make_config(config.model_dump(), nest(changes))
        result = _distill_or_load(images, pool, config, machine, ipc, folder, reporter, name)
        train = result.synthetic.decoded()
        teacher_seconds, distill_seconds = pool.seconds, result.seconds
    elif name == "full":
        train = LabelledImages(images.train.images, images.train.labels)
        reference = images.num_classes * ipc * config.distill.factor**2
        protocol = equal_steps(protocol, len(images.train), reference)
        storage = math.ceil(len(images.train) / images.num_classes)
    else:
        chosen = select(
            name, images, pool, ipc=ipc, factor=config.distill.factor, generator=generator(config.seed, name)
        )
        if folder is not None:
            save_image_grid(folder / PICTURE_FILE, chosen.images, chosen.class_names)
        train = chosen.decoded()
        teacher_seconds = pool.seconds if name == "herding" else None
    evaluation = _evaluate_or_load(train, images, config, machine, protocol, folder, reporter, name)
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
    check_folder(folder, _description(images.name, ipc, config), resume)
    return _distill(images, pool, config, machine, ipc=ipc, folder=folder, resume=resume, reporter=reporter, stage=name)


def _evaluate_or_load(
    train: LabelledImages,
    images: ImageSet,
    config: RunConfig,
    machine: Machine,
    protocol: Any,
    folder: Path | None,
    reporter: Reporter,
    name: str,
) -> EvaluationResult:
    """Judge, or take the scores that the folder has for exactly this set, protocol, network and seed."""
    key = content_hash(
        train.images,
        train.labels,
        images.fingerprint,
        repr(protocol),
        config.evaluate.network,
        str(config.seed),
    )
    path = None if folder is None else folder / SCORES_FILE
    if path is not None and path.is_file():
        stored = read_json(path)
        if stored.get("key") == key:
            fields = stored["evaluation"]
            return EvaluationResult(**fields | {k: tuple(fields[k]) for k in ("accuracies", "best_accuracies")})
    evaluation = _evaluate(train, images, config, machine, f"{name}: students", reporter, protocol)
    if path is not None:
        write_json(path, scores(evaluation) | {"key": key, "evaluation": evaluation.__dict__})
    return evaluation


def scores(evaluation: EvaluationResult) -> dict[str, Any]:
    """An evaluation as plain numbers for JSON."""
    spread = interval(evaluation.accuracies)
    return {
        "accuracy_mean": spread.mean,
        "accuracy_std": spread.std,
        "accuracy_low": None if math.isnan(spread.low) else spread.low,
        "accuracy_high": None if math.isnan(spread.high) else spread.high,
        "accuracy_best_mean": evaluation.accuracy_best_mean,
        "accuracies": list(evaluation.accuracies),
        "network": evaluation.network,
        "protocol": evaluation.protocol,
        "epochs": evaluation.epochs,
        "num_images": evaluation.num_images,
        "seconds": round(evaluation.seconds, 3),
    }


def _prepare(data: str | ImageSet, config: RunConfig, data_dir: str | Path | None) -> tuple[ImageSet, Machine]:
    code_version()  # remembered now: of the code as loaded, whatever becomes of the files while this runs
    images = build_data(data, config, data_dir)
    return images, build_machine(config.machine, images.image_size)


def _teachers(images: ImageSet, config: RunConfig, machine: Machine, reporter: Reporter) -> TeacherPool:
    epochs, number = config.teachers.epochs, config.teachers.number
    reporter.begin("teachers", epochs * number)
    pool = build_teachers(images, config, machine, on_epoch=lambda i, epoch: reporter.update(i * epochs + epoch))
    reporter.end()
    return pool


def _distill(
    images: ImageSet,
    pool: TeacherPool,
    config: RunConfig,
    machine: Machine,
    *,
    ipc: int,
    folder: Path | None,
    resume: bool,
    reporter: Reporter,
    stage: str = "distilling",
) -> DistillResult:
    """Distil and write the artefact and its picture."""
    if folder is not None:
        write_json(folder / CONFIG_FILE, _description(images.name, ipc, config))
    reporter.begin(stage, config.distill.iterations)
    result = run_distillation(
        images,
        pool,
        config,
        machine,
        ipc=ipc,
        folder=folder,
        resume=resume and folder is not None and (folder / STATE_FILE).is_file(),
        on_iteration=lambda i, metrics: reporter.update(i, f"NCFD {metrics['discrepancy']:.4f}"),
    )
    reporter.end()
    facts = _description(images.name, ipc, config) | {
        "data_fingerprint": images.fingerprint,
        "method": "ncfm" if config.objective.name == "ncfd" else config.objective.name,
        "variant": config.frequencies.family if config.objective.name == "ncfd" else "",
        "iterations": result.iterations,
        "teacher_seconds": round(pool.seconds, 3),
        "distill_seconds": round(result.seconds, 3),
        "code": code_version(),
        "device": describe_device(machine.device),
    }
    result = replace(result, synthetic=replace(result.synthetic, facts=facts))
    if folder is not None:
        result.synthetic.save(folder / SET_FOLDER)
        save_image_grid(folder / PICTURE_FILE, result.synthetic.images, result.synthetic.class_names)
    return result


def _evaluate(
    train: LabelledImages,
    images: ImageSet,
    config: RunConfig,
    machine: Machine,
    stage: str,
    reporter: Reporter,
    protocol: Any = None,
) -> EvaluationResult:
    protocol = build_protocol(config) if protocol is None else protocol
    epochs = protocol.recipe.epochs
    reporter.begin(stage, epochs * protocol.num_runs)
    result = evaluate_tensors(
        train,
        images.require_test(),
        num_classes=images.num_classes,
        statistics=images.statistics,
        protocol=protocol,
        network=config.evaluate.network,
        seed=config.seed,
        device=machine.device,
        precision=machine.precision,
        compile_networks=machine.compile_networks,
        on_epoch=lambda run, epoch: reporter.update(run * epochs + epoch),
    )
    reporter.end()
    return result


def _description(data: str, ipc: int, config: RunConfig) -> dict[str, Any]:
    """What a run folder says of its run, and what has to agree when it is resumed."""
    return {"data": data.removesuffix("@validation"), "ipc": ipc, "config": config.model_dump()}


def check_folder(folder: Path | None, description: dict[str, Any], resume: bool) -> None:
    """Check that a run folder is free, or holds the run to resume.

    Raises:
        NcfmError: if it holds another run, or nothing to resume.
    """
    if folder is None:
        if resume:
            raise NcfmError("resume needs the folder of the interrupted run (--out).")
    elif resume:
        if not (folder / CONFIG_FILE).is_file():
            raise NcfmError(f"Nothing to resume: {folder} is no run folder (it has no {CONFIG_FILE}).")
        differing = _differences(read_json(folder / CONFIG_FILE), description)
        if differing:
            raise NcfmError(
                f"{folder} holds a run with other settings ({'; '.join(differing[:5])}); "
                "give the same ones, or choose another --out."
            )
    elif (folder / STATE_FILE).is_file():
        raise NcfmError(
            f"{folder} already holds a run; continue it with --resume, or choose another folder with --out."
        )


def _differences(stored: Any, wanted: Any, place: str = "") -> list[str]:
    """Settings in which two descriptions differ, as ``key: stored, now wanted``; the machine may differ."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = sorted(stored.keys() | wanted.keys())
        return [
            difference
            for key in keys
            if f"{place}{key}" != "config.machine"
            for difference in _differences(stored.get(key), wanted.get(key), f"{place}{key}.")
        ]
    return [] if stored == wanted else [f"{place[:-1]} was {stored!r}, now {wanted!r}"]
