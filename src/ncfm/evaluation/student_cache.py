"""The cache of student results, by content: a repeated evaluation trains nothing.

A student is determined by the images and labels it learns from, the test split, the statistics, the recipe, the
network, the seed and its number. So is its result, bit for bit on one machine. An interrupted evaluation resumes with
the missing students, and ten students reuse the three of an earlier run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ncfm._utils.cache import CacheEntry
from ncfm._utils.files import content_hash
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.image_set import ImageSplit
from ncfm.evaluation.protocols import Protocol
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets, TeacherTargets
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.recipe import recipe_key

# Raised when a change of the training code makes cached students differ from freshly trained ones.
CACHE_VERSION = 1


@dataclass(frozen=True)
class Student:
    """The result of one student."""

    accuracies: tuple[float, ...]  # of its test evaluations, the last one after its last epoch
    confusion: tuple[tuple[int, ...], ...]  # (C, C) test images by class (row) and prediction (column), last epoch
    calibration_error: float  # expected calibration error on the test split, last epoch
    seconds: float  # of its training and testing
    conditions: Mapping[str, Any]  # of its training, such as command and machine, from the caller

    @classmethod
    def from_json(cls, stored: Any) -> Student:
        """A student from the JSON of its `dataclasses.asdict`.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: if it is something else, or has no accuracy.
        """
        if not stored["accuracies"]:  # earlier versions wrote such entries for students cut in their last look
            raise ValueError("a student without an accuracy")
        return cls(
            accuracies=tuple(map(float, stored["accuracies"])),
            confusion=tuple(tuple(map(int, row)) for row in stored["confusion"]),
            calibration_error=float(stored["calibration_error"]),
            seconds=float(stored["seconds"]),
            conditions=dict(stored["conditions"]),
        )


class StudentCache:
    """Cached results of students, one file per student.

    Args:
        key: content hash of everything that determines them, except their number; see `students_key`.
        describe: returns the current conditions, which are saved with each result.
        folder: default ``students`` in the cache.
        reuse: False only writes: every student is trained again.
    """

    def __init__(
        self,
        key: str,
        *,
        describe: Callable[[], Mapping[str, Any]] = dict,
        folder: Path | None = None,
        reuse: bool = True,
    ) -> None:
        self.key, self.describe, self.folder, self.reuse = key, describe, folder, reuse

    def get(self, run: int) -> Student | None:
        """The cached result of student number ``run``; None if there is none that can be read."""
        return self._entry(run).read(lambda entry: Student.from_json(entry.facts())) if self.reuse else None

    def put(self, run: int, student: Student) -> Student:
        """Write a result with the current conditions; a folder that cannot be written is not a failure."""
        student = replace(student, conditions=dict(self.describe()))
        self._entry(run).write(facts=asdict(student))
        return student

    def checkpoint(self, runs: Sequence[int]) -> TrainingCheckpoint:
        """The checkpoint of the training of one student, or of several side by side; without ``reuse`` an earlier one
        is removed."""
        name = str(runs[0]) if len(runs) == 1 else content_hash("side by side", *map(str, runs))
        checkpoint = TrainingCheckpoint(self._entry(name).checkpoint_path)
        if not self.reuse:
            checkpoint.finish()
        return checkpoint

    def _entry(self, run: int | str) -> CacheEntry:
        return CacheEntry("students", f"{self.key}-{run}", self.folder)


def students_key(
    train: LabelledImages,
    test: ImageSplit,
    *,
    statistics: Statistics,
    protocol: Protocol,
    network: str,
    seed: int,
    soft: StudentTargets | None = None,
    numerics: str = "",
) -> str:
    """Content hash of everything that determines the students of a set, except their number.

    Args:
        train: images and labels that the students learn from.
        test: the test split.
        statistics, protocol, network, seed, soft: as in `ncfm.evaluation.evaluate`.
        numerics: describes how they are computed, such as the precision.
    """
    whitening = statistics.whitening
    tensors = [*train, test.images, test.labels]
    tensors += [] if whitening is None else [whitening.mean, whitening.matrix]
    tensors += [soft.log_probabilities] if isinstance(soft, SoftTargets) else []
    mixing = None if soft is None else (soft.weight, soft.temperature)
    facts = {
        "version": CACHE_VERSION,
        "statistics": statistics[:2],
        "recipe": recipe_key(protocol.recipe),
        "looks": protocol.looks,
        "soft": (soft.fingerprint, mixing) if isinstance(soft, TeacherTargets) else mixing,
        "network": network,
        "seed": seed,
        "numerics": numerics,
    }
    return content_hash(*tensors, repr(facts))
