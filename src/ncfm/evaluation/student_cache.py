"""Students that were trained before, by content: an evaluation that is asked for again is there at once.

A student is determined by the images and labels it learns from, the test split, the statistics, the recipe, the
network, the seed and its number; so is its result, down to the bit on one machine. An evaluation that was stopped
goes on with the students it lacks, and ten students reuse the three of yesterday.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from ncfm._utils.cache import CacheEntry
from ncfm._utils.files import content_hash
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.image_set import ImageSplit
from ncfm.evaluation.protocols import Protocol
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets, TeacherTargets
from ncfm.training.checkpoint import Unfinished

# Raised when a change of the training code makes remembered students differ from freshly trained ones.
MEMORY_VERSION = 1


@dataclass(frozen=True)
class Student:
    """What became of one student."""

    accuracies: tuple[float, ...]  # at its looks at the test split; after its last epoch: the last one
    confusion: tuple[tuple[int, ...], ...]  # (C, C) test images by class (row) and prediction (column), last epoch
    calibration_error: float  # expected calibration error on the test split, last epoch
    seconds: float  # its training and testing took
    conditions: Mapping[str, Any]  # under which it was trained: the command, the machine; as the caller tells it

    @classmethod
    def from_json(cls, stored: Any) -> Student:
        """What `dataclasses.asdict` and JSON made of one.

        Raises:
            KeyError, TypeError, ValueError, OverflowError: if it is something else.
        """
        return cls(
            accuracies=tuple(map(float, stored["accuracies"])),
            confusion=tuple(tuple(map(int, row)) for row in stored["confusion"]),
            calibration_error=float(stored["calibration_error"]),
            seconds=float(stored["seconds"]),
            conditions=dict(stored["conditions"]),
        )


class StudentMemory:
    """Results of students in a folder, a file each.

    Args:
        key: content hash of everything that determines them but their number, see `students_key`.
        describe: tells what conditions hold now, kept with each result.
        folder: default ``students`` in the cache.
        recall: False writes only: every student is trained anew.
    """

    def __init__(
        self,
        key: str,
        *,
        describe: Callable[[], Mapping[str, Any]] = dict,
        folder: Path | None = None,
        recall: bool = True,
    ) -> None:
        self.key, self.describe, self.folder, self.recall = key, describe, folder, recall

    def get(self, run: int) -> Student | None:
        """The result of student number ``run``; None if it is not there, or not readable: it is then trained."""
        return self._entry(run).read(lambda entry: Student.from_json(entry.facts())) if self.recall else None

    def put(self, run: int, student: Student) -> Student:
        """Keep a result, with the conditions of now; a folder that cannot be written to is no failure."""
        student = replace(student, conditions=dict(self.describe()))
        self._entry(run).write(facts=asdict(student))
        return student

    def unfinished(self, run: int) -> Unfinished:
        """Where a student under way is kept; one that is to be trained anew starts without."""
        kept = Unfinished(self._entry(run).checkpoint_path)
        if not self.recall:
            kept.finish()
        return kept

    def _entry(self, run: int) -> CacheEntry:
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
    """Content hash of all that determines the students of a set but their number; ``numerics``: how it is computed."""
    whitening = statistics.whitening
    tensors = [*train, test.images, test.labels]
    tensors += [] if whitening is None else [whitening.mean, whitening.matrix]
    tensors += [soft.log_probabilities] if isinstance(soft, SoftTargets) else []
    said = None if soft is None else (soft.weight, soft.temperature)
    facts = {
        "version": MEMORY_VERSION,
        "statistics": statistics[:2],
        "recipe": [(f.name, getattr(protocol.recipe, f.name)) for f in fields(protocol.recipe)],
        "looks": protocol.looks,
        "soft": (soft.fingerprint, said) if isinstance(soft, TeacherTargets) else said,
        "network": network,
        "seed": seed,
        "numerics": numerics,
    }
    return content_hash(*tensors, repr(facts))
