"""The stage that evaluates: students of one set, trained or from the cache."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

from ncfm._utils.compute import Compute
from ncfm._utils.progress import Reporter
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.config.build import build_protocol
from ncfm.config.keys import dotted
from ncfm.config.resolve import NUMERICS
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation import EvaluationResult, StudentCache, students_key
from ncfm.evaluation import Protocol as EvaluationProtocol
from ncfm.evaluation import evaluate as evaluate_tensors
from ncfm.networks.registry import is_own
from ncfm.results.files import Conditions, library_versions
from ncfm.synthetic.soft_labels import StudentTargets


def evaluate_images(
    train: LabelledImages,
    images: ImageSet,
    config: RunConfig,
    machine: Compute,
    stage: str,
    reporter: Reporter,
    *,
    soft: StudentTargets | None = None,
    protocol: EvaluationProtocol | None = None,
    fresh: bool = False,
) -> EvaluationResult:
    """Train and test the students of one set, or find them in the cache.

    Args:
        train: the set.
        images: the real data.
        config, machine: how.
        stage, reporter: name of the progress, and what shows it.
        soft: soft labels to learn from, or teachers that label every batch.
        protocol: in place of the configured one.
        fresh: train all students, also those in the cache.
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
    machine: Compute,
    seed: int | None = None,
    soft: StudentTargets | None = None,
    fresh: bool = False,
    on_epoch: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """`ncfm.evaluation.evaluate` on the machine, with the cache of students; every student has its conditions."""
    network = config.evaluate.network
    determined: dict[str, Any] = {
        "statistics": statistics,
        "protocol": protocol,
        "network": network,
        "seed": config.seed if seed is None else seed,
        "soft": soft,
    }

    def conditions() -> dict[str, Any]:
        return asdict(Conditions.here(machine.device)) | {"versions": _versions()}

    cache = None
    if is_own(network):  # the name of a network from outside may mean other code tomorrow
        numerics = {key: value for key, value in dotted(config).items() if key in NUMERICS}
        cache = StudentCache(
            students_key(train, test, numerics=repr(numerics), **determined), describe=conditions, reuse=not fresh
        )
    result = evaluate_tensors(
        train,
        test,
        num_classes=num_classes,
        compute=machine,
        cache=cache,
        on_epoch=on_epoch,
        **determined,
    )
    # The cache records the conditions of each student when it is trained; without one it was now.
    students = (replace(one, conditions=one.conditions or conditions()) for one in result.students)
    return replace(result, students=tuple(students))


def _versions() -> str:
    """Versions of Python and the numerical libraries, as a cell of a table."""
    return " ".join(f"{name}={version}" for name, version in library_versions().items())


def scores(evaluation: EvaluationResult) -> dict[str, Any]:
    """An evaluation as plain numbers for JSON."""
    spread = evaluation.interval
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
