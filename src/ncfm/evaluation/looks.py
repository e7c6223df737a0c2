"""Looks at the test split: after which epochs, and what is measured."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

from ncfm.evaluation.classification import confusion_matrix, expected_calibration_error
from ncfm.evaluation.protocols import Protocol


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
