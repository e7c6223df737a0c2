"""Budget of a run: iterations or time, learning rate, early stopping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ncfm._utils.options import Count, Options, Positive, WholeNumber
from ncfm.distillation.checkpoint import Progress
from ncfm.training.recipe import schedule_factor


@dataclass(frozen=True)
class Budget(Options):
    """How long a run lasts, and the learning rate of the images over that time."""

    iterations: WholeNumber = 1000
    seconds: Positive | None = None
    """A time budget in place of the iterations, over all sittings; such a run is not reproducible."""
    image_lr: Positive = 0.01
    """Adam's learning rate of pixels in [0, 1]."""
    image_schedule: Literal["constant", "cosine", "step", "fifths"] = "cosine"
    """Of that learning rate over the budget, see `TrainingRecipe`."""
    early_stop_patience: Count | None = None
    """Stop when the smoothed discrepancy has not fallen by 0.1 % for so many iterations."""

    def is_spent(self, progress: Progress) -> bool:
        """Whether all iterations are done, or the time is used up."""
        if self.seconds is not None:
            return progress.seconds >= self.seconds
        return progress.iteration >= self.iterations

    def lr_at(self, progress: Progress) -> float:
        """Learning rate of the next iteration, by the spent share of the budget."""
        if self.seconds is not None:
            spent = min(progress.seconds / self.seconds, 1.0)
        else:
            spent = (progress.iteration + 0.5) / max(self.iterations, 1)
        return self.image_lr * schedule_factor(self.image_schedule, spent)

    def moment(self, progress: Progress, of: int) -> int:
        """Number of ``of`` equal parts of the budget that are spent, 0 .. of."""
        if self.seconds is not None:
            return min(int(of * progress.seconds / self.seconds), of)
        return of * progress.iteration // max(self.iterations, 1)

    def has_stalled(self, progress: Progress) -> bool:
        """Whether nothing has improved for `early_stop_patience` iterations."""
        patience = self.early_stop_patience
        return patience is not None and progress.iteration - progress.best_iteration >= patience
