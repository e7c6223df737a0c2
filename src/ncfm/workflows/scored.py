"""The results of a comparison: by method and seed, as a row, as a CSV file, and as points of accuracy and cost."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncfm._utils.files import write_text
from ncfm._utils.types import Interval
from ncfm.config.build import build_protocol
from ncfm.config.resolve import judged_on
from ncfm.config.schema import RunConfig
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.results.bars import CostPoint
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.counts import Ipc, mean_of
from ncfm.workflows.evaluating import scores


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
        teacher_accuracy=scored.teacher_accuracy,
        **evaluation.students[-1].conditions,
    )
