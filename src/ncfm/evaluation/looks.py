"""Looks at the test split: after which epochs, what is measured, and what is kept of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from ncfm.evaluation.classification import confusion_matrix, expected_calibration_error
from ncfm.evaluation.protocols import Protocol
from ncfm.training.checkpoint import TrainingCheckpoint


def looks_after(protocol: Protocol, epoch: int) -> bool:
    """Whether the test split is looked at after an epoch: ``looks`` times at equal distances, also after the last one.

    Look i of L is after the first epoch that is at least i E / L of all E.
    """
    epochs, looks = max(protocol.recipe.epochs, 1), max(protocol.looks, 1)
    return epoch * looks // epochs > (epoch - 1) * looks // epochs


class Look(NamedTuple):
    """A look at the test split."""

    accuracy: float
    confusion: tuple[tuple[int, ...], ...]  # (C, C)
    calibration_error: float


def measure(logits: Tensor, labels: Tensor) -> Look:
    """What logits (n, C) of images with labels (n,) are worth."""
    labels = labels.cpu()
    correct = float((logits.argmax(1) == labels).double().mean())
    confusion = tuple(tuple(row) for row in confusion_matrix(logits, labels).tolist())
    return Look(correct, confusion, expected_calibration_error(logits, labels))


class Looks:
    """The looks of some students who are trained together.

    With a checkpoint their accuracies are kept in its notes, so that a resumed training has those from before. A look
    that is cut counts for nothing: it is made again.

    Args:
        test: looks at the test split, once for each student.
        kept: the checkpoint of the training.
    """

    def __init__(self, test: Callable[[], Sequence[Look]], kept: TrainingCheckpoint | None) -> None:
        self._test, self._kept = test, kept
        self._own: list[float] = []
        self._last: Sequence[Look] | None = None

    @property
    def _accuracies(self) -> list[float]:  # of all students, look after look
        return self._own if self._kept is None else self._kept.notes

    def take(self) -> None:
        """Look, and keep the accuracies."""
        with contextlib.nullcontext() if self._kept is None else self._kept.taking_notes():
            self._last = self._test()
            self._accuracies.extend(look.accuracy for look in self._last)

    def last(self) -> Sequence[Look]:
        """The last look of each student; made again if the training was cut behind it."""
        if self._last is None:
            self._last = self._test()
        return self._last

    def accuracies(self) -> list[tuple[float, ...]]:
        """Of each student, at every look."""
        students = len(self.last())
        return [tuple(self._accuracies[i::students]) for i in range(students)]
