"""The results of the students of one set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ncfm._utils.types import Interval
from ncfm.evaluation.classification import per_class_accuracy
from ncfm.evaluation.statistics import accuracy_interval, interval
from ncfm.evaluation.student_cache import Student


@dataclass(frozen=True)
class EvaluationResult:
    """The results of the students of one set; accuracies are fractions in [0, 1]."""

    students: tuple[Student, ...]
    network: str
    protocol: str
    epochs: int
    num_images: int  # decoded training images of a student
    num_stored: int | None = None  # images as an external set stores them; None: the set knows
    storage: float | None = None  # of an external set, in images per class, with its soft labels

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Accuracy of each student after its last epoch: the result."""
        return tuple(student.accuracies[-1] for student in self.students)

    @property
    def best_accuracies(self) -> tuple[float, ...]:
        """Best accuracy of each student over its test evaluations, only for comparison with papers."""
        return tuple(max(student.accuracies) for student in self.students)

    @property
    def interval(self) -> Interval:
        """Mean, standard deviation and 95 % interval of the last-epoch accuracies, see `accuracy_interval`."""
        return accuracy_interval(self.accuracies)

    @property
    def accuracy_mean(self) -> float:
        """Mean last-epoch accuracy."""
        return self.interval.mean

    @property
    def accuracy_std(self) -> float:
        """Standard deviation of the last-epoch accuracy over students."""
        return self.interval.std

    @property
    def accuracy_best_mean(self) -> float:
        """Mean of the best accuracies over test evaluations: optimistic, since it selects on the test split."""
        return math.fsum(self.best_accuracies) / len(self.students)

    @property
    def confusion(self) -> Tensor:
        """Test images by class (row) and prediction (column), summed over students, (C, C) int64."""
        return torch.tensor([student.confusion for student in self.students]).sum(0)

    @property
    def per_class(self) -> tuple[float, ...]:
        """Accuracy on the test images of each class, mean over students; NaN for a class without any."""
        return tuple(per_class_accuracy(self.confusion).tolist())

    @property
    def calibration_error(self) -> Interval:
        """Expected calibration error on the test split, over students."""
        return interval([student.calibration_error for student in self.students])

    @property
    def seconds(self) -> float:
        """Training and testing the students took, also of cached ones."""
        return math.fsum(student.seconds for student in self.students)
