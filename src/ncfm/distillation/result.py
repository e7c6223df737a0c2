"""What a distillation returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from ncfm.synthetic.synthetic_set import SyntheticSet


@dataclass(frozen=True)
class DistillResult:
    """What a distillation returns."""

    synthetic: SyntheticSet
    start: SyntheticSet  # the set before the first iteration, for comparison
    iterations: int
    seconds: float  # of distilling; a resumed run counts all its parts
    stopped_early: bool
    history: list[dict[str, float]] = field(repr=False)  # the logged metrics
    images_per_pass: int | None  # synthetic images in a pass with gradient; None if all at once
    peak_memory_mb: float  # used by the iterations, in addition to what the process held before them
    rolled_back: int = 0  # iterations with a value that was not finite

    @property
    def taken_back(self) -> int:
        """The former name of `rolled_back`."""
        return self.rolled_back

    @property
    def seconds_per_iteration(self) -> float:
        """Mean seconds per iteration; NaN without iterations."""
        return self.seconds / self.iterations if self.iterations else math.nan
