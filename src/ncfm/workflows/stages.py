"""Runs: the stages between a configuration and what lies in a run folder, shared by the front functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ncfm._utils.checks import NcfmError
from ncfm._utils.device import describe_device
from ncfm._utils.distributed import Ranks
from ncfm._utils.files import write_json
from ncfm._utils.progress import Reporter
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.config.build import (
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
from ncfm.config.resolve import (
    CONFIG_FILE,
    NUMERICS,
    describe_run,
    matches_trajectories,
    needs_teachers,
    usual_method,
    variant_of,
)
from ncfm.config.schema import RunConfig, dotted
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.distillation import DistillResult
from ncfm.distillation.checkpoint import has_state
from ncfm.evaluation import EvaluationResult, StudentMemory, interval, students_key
from ncfm.evaluation import Protocol as EvaluationProtocol
from ncfm.evaluation import evaluate as evaluate_tensors
from ncfm.networks.registry import is_own
from ncfm.results.files import Conditions, code_version, command_line, library_versions
from ncfm.results.image_grid import save_image_grid
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.synthetic.synthetic_set import SET_FOLDER, SyntheticSet
from ncfm.training.experts import ExpertPool
from ncfm.training.teachers import TeacherPool, untrained_pool

PICTURE_FILE = "images.png"


def prepare(data: str | ImageSet, config: RunConfig, data_dir: str | Path | None) -> tuple[ImageSet, Machine]:
    """The real set, and where to compute."""
    code_version()  # remembered now: of the code as loaded, whatever becomes of the files while this runs
    # In turn: what the first rank decodes the others find in the cache.
    images: ImageSet = Ranks.here().in_turn(lambda: build_data(data, config, data_dir))
    if images.problems:
        more = f", and {len(images.problems) - 3} more (ncfm data tells all)" if len(images.problems) > 3 else ""
        warnings.warn(f"{images.name}: {'; '.join(images.problems[:3])}{more}", stacklevel=2)
    return images, build_machine(config.machine, images.image_size)


def train_teachers(images: ImageSet, config: RunConfig, machine: Machine, reporter: Reporter) -> TeacherPool:
    """The pool of teachers, trained or from the cache."""
    epochs, number = config.teachers.epochs, config.teachers.number
    reporter.begin("teachers", epochs * number, unit="epoch")
    pool = build_teachers(images, config, machine, on_epoch=lambda i, epoch: reporter.update(i * epochs + epoch))
    reporter.end()
    return pool


def record_trajectories(images: ImageSet, config: RunConfig, machine: Machine, reporter: Reporter) -> ExpertPool:
    """The experts of trajectory matching, recorded or from the cache."""
    epochs, number = config.trajectory.epochs, config.trajectory.experts
    reporter.begin("experts", epochs * number, unit="epoch")
    experts = build_experts(images, config, machine, on_epoch=lambda i, epoch: reporter.update(i * epochs + epoch))
    reporter.end()
    return experts


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
    if isinstance(pool, ExpertPool) and not machine.ranks.is_alone:
        raise NcfmError(f"{config.objective.name} works in one process; start it without torchrun.")
    if folder is not None:
        told = describe_run(images.name, ipc, config)
        machine.ranks.after_first(lambda: write_json(folder / CONFIG_FILE, told))
    budget = config.distill.seconds
    if budget is None:
        reporter.begin(stage, config.distill.iterations, unit="iteration")
    else:
        reporter.begin(stage, math.ceil(budget), unit="second")
    common: dict[str, Any] = {
        "ipc": ipc,
        "folder": folder,
        # As the first rank sees it: the others may look at the folder earlier or later.
        "resume": machine.ranks.collect(resume and folder is not None and has_state(folder))[0],
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
        "training_images": len(images.train),
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
        machine.ranks.after_first(lambda: _write(result.synthetic, folder))
    return result


def _versions() -> str:
    """Of Python and the libraries that compute, in a cell of a table."""
    return " ".join(f"{name}={version}" for name, version in library_versions().items())


def _write(synthetic: SyntheticSet, folder: Path) -> None:
    """The set and its picture."""
    synthetic.save(folder / SET_FOLDER)
    save_image_grid(folder / PICTURE_FILE, synthetic.images, synthetic.class_names)


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
    reporter.begin(stage, protocol.recipe.epochs * protocol.num_runs, unit="epoch")
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
            describe=lambda: asdict(Conditions.here(machine.device)) | {"versions": _versions()},
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
        ranks=machine.ranks,
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
