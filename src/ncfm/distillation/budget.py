"""How long a run lasts."""

from __future__ import annotations

from dataclasses import dataclass

from ncfm._utils.checks import check_at_least, check_known, check_positive
from ncfm.distillation.checkpoint import Progress
from ncfm.training.recipe import schedule_factor

IMAGE_SCHEDULES = ("constant", "cosine", "step", "fifths")


@dataclass(frozen=True)
class Budget:
    """How long a run lasts: iterations, or seconds where they are given; and its learning rate over that time."""

    iterations: int
    lr: float
    schedule: str = "constant"  # of `IMAGE_SCHEDULES`
    seconds: float | None = None  # over all sittings; takes the place of the iterations
    patience: int | None = None  # stop when the smoothed loss has not fallen by 0.1 % for so many iterations

    def __post_init__(self) -> None:
        check_at_least(self.iterations, 0, "iterations")
        check_known(self.schedule, IMAGE_SCHEDULES, "image schedule")
        if self.seconds is not None:
            check_positive(self.seconds, "seconds")

    def is_spent(self, progress: Progress) -> bool:
        """Whether all iterations are done, or the time is up."""
        if self.seconds is not None:
            return progress.seconds >= self.seconds
        return progress.iteration >= self.iterations

    def lr_at(self, progress: Progress) -> float:
        """The learning rate of the next iteration, by the share of the budget that is spent."""
        if self.seconds is not None:
            spent = min(progress.seconds / self.seconds, 1.0)
        else:
            spent = (progress.iteration + 0.5) / max(self.iterations, 1)
        return self.lr * schedule_factor(self.schedule, spent)

    def moment(self, progress: Progress, of: int) -> int:
        """How many of so many equal parts of the budget are spent, 0 .. of."""
        if self.seconds is not None:
            return min(int(of * progress.seconds / self.seconds), of)
        return of * progress.iteration // max(self.iterations, 1)

    def has_stalled(self, progress: Progress) -> bool:
        """Whether nothing has improved for too long."""
        return self.patience is not None and progress.iteration - progress.best_iteration >= self.patience
