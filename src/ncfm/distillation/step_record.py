"""The measurements of an iteration of `ncfm.distillation.minmax_step`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class StepRecord(NamedTuple):
    """The measurements of an iteration, as tensors: converting them to numbers waits for the device."""

    discrepancy: Tensor  # () mean over classes, before the update of the images
    calibration: Tensor  # () cross-entropy of the synthetic images under a trained teacher; 0 if switched off
    amplitude: Tensor | None = None  # () mean squared amplitude gap over classes and frequencies
    phase: Tensor | None = None  # () the same for phases; None for objectives without these parts
    criterion: Tensor | None = None  # () what the adversary ascends, if it is not the discrepancy; mean over classes


def total(records: Sequence[StepRecord]) -> StepRecord:
    """The means over all classes, from the records of slices, which hold their share of the means."""
    if len(records) == 1:
        return records[0]
    return StepRecord._make(None if values[0] is None else sum(values) for values in zip(*records, strict=True))
