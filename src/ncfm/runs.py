"""Runs: the stages between a configuration and what lies in a run folder, shared by the front functions."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from ncfm._checks import NcfmError
from ncfm._device import describe_device
from ncfm._files import read_json, write_json
from ncfm._typing import LabelledImages, Statistics
from ncfm.build import (
    Machine,
    build_data,
    build_experts,
    build_machine,
    build_protocol,
    build_soft_labels,
    build_teachers,
    run_distillation,
    run_trajectory_matching,
)
from ncfm.config import RunConfig, check_recipe, dotted, make_config, nest, read_recipe, recipe_names
from ncfm.data.images import ImageSet, ImageSplit
from ncfm.data.named import SUBSETS
from ncfm.distillation import DistillResult
from ncfm.distillation.state import STATE_FILE
from ncfm.evaluation import EvaluationResult, StudentMemory, interval, students_key
from ncfm.evaluation import Protocol as EvaluationProtocol
from ncfm.evaluation import evaluate as evaluate_tensors
from ncfm.experts import ExpertPool
from ncfm.methods import METHODS, Method
from ncfm.networks.registry import is_own
from ncfm.report.figures import save_image_grid
from ncfm.report.results import Conditions, code_version, command_line, library_versions
from ncfm.soft_labels import StudentTargets
from ncfm.synthetic import SET_FOLDER
from ncfm.teachers import TeacherPool, untrained_pool

CONFIG_FILE, PICTURE_FILE = "config.json", "images.png"

Settings = Mapping[str, Any]
"""Dotted settings, such as ``{"distill.iterations": 500}``."""


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


def resolve_config(
    data: str | ImageSet, ipc: int | None, recipe: str | None, settings: Settings | None, seed: int | None
) -> RunConfig:
    """The configuration of a run: settings over recipe over defaults.

    Without a recipe the one named ``<data>-ipc<ipc>`` is taken if the package has it (the subsets of ImageNet share
    ``imagenet-subset-ipc<ipc>``); ``"none"`` asks for defaults.

    Raises:
        NcfmError: for unknown recipes and keys, and wrong values, all at once.
    """
    name = data if isinstance(data, str) else data.name
    fitting = f"{'imagenet-subset' if name in SUBSETS else name}-ipc{ipc}"
    if recipe is None and fitting in recipe_names():
        recipe = fitting
    layer = {} if recipe in (None, "none") else read_recipe(str(recipe))
    if layer:
        check_recipe(str(recipe))
    seeds = {} if seed is None else {"seed": seed}
    return make_config(layer, nest(settings or {}), seeds)


def prepare(data: str | ImageSet, config: RunConfig, data_dir: str | Path | None) -> tuple[ImageSet, Machine]:
    """The real set, and where to compute."""
    code_version()  # remembered now: of the code as loaded, whatever becomes of the files while this runs
    images = build_data(data, config, data_dir)
    if images.problems:
        more = f", and {len(images.problems) - 3} more (ncfm data tells all)" if len(images.problems) > 3 else ""
        warnings.warn(f"{images.name}: {'; '.join(images.problems[:3])}{more}", stacklevel=2)
    return images, build_machine(config.machine, images.image_size)


def train_teachers(images: ImageSet, config: RunConfig, machine: Machine, reporter: Reporter) -> TeacherPool:
    """The pool of teachers, trained or from the cache."""
    epochs, number = config.teachers.epochs, config.teachers.number
    reporter.begin("teachers", epochs * number)
    pool = build_teachers(images, config, machine, on_epoch=lambda i, epoch: reporter.update(i * epochs + epoch))
    reporter.end()
    return pool


def record_trajectories(images: ImageSet, config: RunConfig, machine: Machine, reporter: Reporter) -> ExpertPool:
    """The experts of trajectory matching, recorded or from the cache."""
    epochs, number = config.trajectory.epochs, config.trajectory.experts
    reporter.begin("experts", epochs * number)
    experts = build_experts(images, config, machine, on_epoch=lambda i, epoch: reporter.update(i * epochs + epoch))
    reporter.end()
    return experts


def matches_trajectories(config: RunConfig) -> bool:
    """Whether the objective takes experts in place of teachers."""
    return config.objective.name in ("mtt", "datm")


def needs_teachers(config: RunConfig) -> bool:
    """Whether trained networks have a part in the distillation: not where fresh ones extract and nothing calibrates."""
    trained = config.teachers.extractor != "random" or config.distill.calibration_weight > 0
    return trained or matches_trajectories(config)


def train_pool(images: ImageSet, config: RunConfig, machine: Machine, reporter: Reporter) -> TeacherPool | ExpertPool:
    """The networks that the objective matches: teachers, or the trajectories of experts; untrained where that will
    do."""
    if not needs_teachers(config):
        return untrained_pool(
            images, config.teachers.network, device=machine.device, compile_networks=machine.compile_networks
        )
    train = record_trajectories if matches_trajectories(config) else train_teachers
    return train(images, config, machine, reporter)


def distill_into(
    images: ImageSet,
    pool: TeacherPool | ExpertPool,
    config: RunConfig,
    machine: Machine,
    *,
    ipc: int,
    folder: Path | None,
    resume: bool,
    reporter: Reporter,
    stage: str = "distilling",
    method: str | None = None,
    variant: str | None = None,
) -> DistillResult:
    """Distil and write the artefact and its picture.

    ``method`` and ``variant`` are what the artefact says it is; by default what the objective and the settings say.
    """
    if folder is not None:
        write_json(folder / CONFIG_FILE, describe_run(images.name, ipc, config))
    budget = config.distill.seconds
    reporter.begin(stage, config.distill.iterations if budget is None else math.ceil(budget))
    common: dict[str, Any] = {
        "ipc": ipc,
        "folder": folder,
        "resume": resume and folder is not None and (folder / STATE_FILE).is_file(),
        "on_iteration": lambda i, metrics: reporter.update(
            i if budget is None else min(int(metrics["seconds"]), math.ceil(budget)), _note(metrics)
        ),
    }
    if isinstance(pool, ExpertPool):
        if config.labels.kind == "soft":
            raise NcfmError(
                "labels.kind=soft stores what teachers say, and trajectories have none; datm learns labels."
            )
        result = run_trajectory_matching(images, pool, config, **common)
    else:
        result = run_distillation(images, pool, config, machine, **common)
    reporter.end()
    facts = describe_run(images.name, ipc, config) | {
        "data_fingerprint": images.fingerprint,
        "data_problems": list(images.problems),
        "method": method or usual_method(config).name,
        "variant": variant_of(images.name, ipc, config) if variant is None else variant,
        "iterations": result.iterations,
        "teacher_seconds": round(pool.seconds, 3),
        "distill_seconds": round(result.seconds, 3),
        "distill_memory_mb": round(result.peak_memory_mb, 1),
        "command": command_line(),
        "code": code_version(),
        "versions": library_versions(),
        "device": describe_device(machine.device),
    }
    labels = result.synthetic.soft_labels  # learned
    if isinstance(pool, TeacherPool):
        labels = build_soft_labels(config, pool, result.synthetic.decoded().images)
    result = replace(result, synthetic=replace(result.synthetic, facts=facts, soft_labels=labels))
    if folder is not None:
        result.synthetic.save(folder / SET_FOLDER)
        save_image_grid(folder / PICTURE_FILE, result.synthetic.images, result.synthetic.class_names)
    return result


def _note(metrics: Mapping[str, float]) -> str:
    """The loss of an iteration with its time and memory, to be shown beside the progress."""
    name = "discrepancy" if "discrepancy" in metrics else "gap"
    note = f"{name} {metrics[name]:.4f}"
    if "seconds_per_iteration" in metrics:  # there are none before the first metrics
        note += f", {metrics['seconds_per_iteration']:.3g} s/it, {metrics['memory_mb']:.0f} MiB"
    return note


def judge(
    train: LabelledImages,
    images: ImageSet,
    config: RunConfig,
    machine: Machine,
    stage: str,
    reporter: Reporter,
    *,
    soft: StudentTargets | None = None,
    protocol: EvaluationProtocol | None = None,
    fresh: bool = False,
) -> EvaluationResult:
    """Train and test the students of one set, or remember them from an earlier time.

    Args:
        train: the set.
        images: the real data.
        config, machine: how.
        stage, reporter: who is told of the progress, under what name.
        soft: soft labels to learn from, or teachers who are asked while students train.
        protocol: in place of the configured one.
        fresh: train all students, also those that are remembered.
    """
    protocol = build_protocol(config, soft) if protocol is None else protocol
    reporter.begin(stage, protocol.recipe.epochs * protocol.num_runs)
    result = train_students(
        train,
        images.require_test(),
        num_classes=images.num_classes,
        statistics=images.statistics,
        protocol=protocol,
        config=config,
        machine=machine,
        soft=soft,
        fresh=fresh,
        on_epoch=reporter.update,
    )
    reporter.end()
    return result


def train_students(
    train: LabelledImages,
    test: ImageSplit,
    *,
    num_classes: int,
    statistics: Statistics,
    protocol: EvaluationProtocol,
    config: RunConfig,
    machine: Machine,
    seed: int | None = None,
    soft: StudentTargets | None = None,
    fresh: bool = False,
    on_epoch: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """`ncfm.evaluation.evaluate` on the machine, with the memory of students trained before."""
    network = config.evaluate.network
    determined: dict[str, Any] = {
        "statistics": statistics,
        "protocol": protocol,
        "network": network,
        "seed": config.seed if seed is None else seed,
        "soft": soft,
    }
    memory = None
    if is_own(network):  # other code may give the same name to another network tomorrow
        numerics = {key: value for key, value in dotted(config).items() if key in NUMERICS}
        memory = StudentMemory(
            students_key(train, test, numerics=repr(numerics), **determined),
            describe=lambda: asdict(Conditions.here(machine.device)),
            recall=not fresh,
        )
    return evaluate_tensors(
        train,
        test,
        num_classes=num_classes,
        device=machine.device,
        precision=machine.precision,
        compile_networks=machine.compile_networks,
        side_by_side=machine.side_by_side,
        memory=memory,
        on_epoch=on_epoch,
        **determined,
    )


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
        "per_class": [None if math.isnan(v) else v for v in evaluation.per_class],
        "calibration_error": evaluation.calibration_error.mean,
        "confusion": evaluation.confusion.tolist(),
        "seconds": round(evaluation.seconds, 3),
    }


def describe_run(data: str, ipc: int, config: RunConfig) -> dict[str, Any]:
    """What a run folder says of its run, and what has to agree when it is resumed."""
    return {"data": data.removesuffix("@validation"), "ipc": ipc, "config": config.model_dump(mode="json")}


NUMERICS = ("machine.precision", "machine.tf32", "machine.compile", "machine.kernels", "machine.students")


def usual_method(config: RunConfig) -> Method:
    """The method that is the objective as its paper has it."""
    return METHODS["ncfm" if config.objective.name == "ncfd" else config.objective.name]


def variant_of(data: str, ipc: int, config: RunConfig, *, distilled: bool = True, usual: Method | None = None) -> str:
    """What differs from the package's recipe for this data and IPC (from the defaults if it has none), for results.

    Of a method that settings make (``usual``; by default `usual_method`) what differs from these too.

    Fixed frequencies are called "gaussian"; everything else is ``key=value``, joined by commas. How students are
    trained is left to the protocol's name, where a run computes to the machine's columns, but for the switches that
    change rounding. Of a set that is selected, not distilled, only those matter, and the teachers where students ask
    them.
    """
    usual = usual_method(config) if usual is None else usual
    base = resolve_config(data.removesuffix("@validation"), ipc, None, usual.settings, None)
    sections: tuple[str, ...] = ("teachers.", "distill.", "labels.", "objective.", "frequencies.")
    if matches_trajectories(config):
        sections += ("trajectory.",)
    if not distilled:
        sections = ("distill.factor", *(["teachers."] if config.evaluate.labels == "teacher" else []))
    changed = {
        key: value
        for key, value in dotted(config).items()
        if (key.startswith(sections) or key in (*NUMERICS, "data.zca")) and value != dotted(base)[key]
    }
    named = []
    if changed.get("frequencies.family") == "gaussian":
        named = ["gaussian"]
        del changed["frequencies.family"]
    for told_elsewhere in ("objective.name", "teachers.seed"):  # by the method, and by the seed
        changed.pop(told_elsewhere, None)
    return ",".join([*named, *(f"{key}={value}" for key, value in changed.items())])


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
        stored = read_json(folder / CONFIG_FILE)
        if isinstance(stored, dict) and isinstance(stored.get("config"), dict):
            # Settings that did not exist then have their defaults: what that version did. A key that is gone differs.
            with contextlib.suppress(NcfmError):
                stored = stored | {"config": make_config(stored["config"]).model_dump(mode="json")}
        differing = _differences(stored, description)
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
    """Settings in which two descriptions differ, as ``key: stored, now wanted``.

    The machine may differ, and what comes after the images: how they are labelled and judged.
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = sorted(stored.keys() | wanted.keys())
        return [
            difference
            for key in keys
            if f"{place}{key}" not in ("config.machine", "config.labels", "config.evaluate")
            for difference in _differences(stored.get(key), wanted.get(key), f"{place}{key}.")
        ]
    return [] if stored == wanted else [f"{place[:-1]} was {stored!r}, now {wanted!r}"]
