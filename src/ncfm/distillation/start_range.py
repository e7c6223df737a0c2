"""The epochs of an expert from which the students of trajectory matching start."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.progress import counted


@dataclass(frozen=True)
class StartRange:
    """Epochs of an expert from which students start: low .. high, where high may grow from easy to hard."""

    low: int
    high: int
    first_high: int | None = None  # high at the beginning; None: from the beginning as it is at the end
    growth: int = 0  # iterations until high is reached

    def __post_init__(self) -> None:
        check_at_least(self.low, 0, "start_low")
        first = self.high if self.first_high is None else self.first_high
        if not self.low <= first <= self.high:
            raise InputError(
                f"Expected start_low <= start_first_high <= start_high, got {self.low}, {first}, {self.high}."
            )

    def draw(self, iteration: int, generator: Generator) -> int:
        """An epoch, uniform in the range of this iteration (from 0)."""
        first = self.high if self.first_high is None else self.first_high
        share = min(iteration / self.growth, 1.0) if self.growth else 1.0
        high = first + int(share * (self.high - first))
        return int(torch.randint(self.low, high + 1, (), generator=generator))


def check_epochs(start: StartRange, matched_epochs: int, epochs: int) -> None:
    """Raise NcfmError if a student's target lies beyond what experts of so many epochs have."""
    if start.high + matched_epochs > epochs:
        raise InputError(
            f"Students start up to epoch {start.high} and are compared {matched_epochs} later, but experts have "
            f"{counted(epochs, 'epoch')}; raise trajectory.epochs or lower trajectory.start_high."
        )
