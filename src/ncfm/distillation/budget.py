"""Budget of a run: iterations or time, optimizer and learning rate of the images, early stopping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.optim import Optimizer

from ncfm._utils.checks import InputError
from ncfm._utils.options import Count, Fraction, NonNegative, Options, Positive, WholeNumber
from ncfm.distillation.checkpoint import Progress
from ncfm.training.recipe import schedule_factor


@dataclass(frozen=True)
class Budget(Options):
    """How long a run lasts, and how the images are updated over that time."""

    iterations: WholeNumber = 1000
    seconds: Positive | None = None
    """A time budget in place of the iterations, over all sittings; such a run is not reproducible."""
    image_lr: Positive = 0.01
    """Learning rate of pixels in [0, 1]."""
    image_schedule: Literal["constant", "cosine", "step", "fifths", "plateau"] = "cosine"
    """Of that learning rate over the budget, see `TrainingRecipe`; plateau: halved after plateau_patience iterations
    without a lower discrepancy."""
    early_stop_patience: Count | None = None
    """Stop when the smoothed discrepancy has not fallen by 0.1 % for so many iterations."""
    plateau_patience: Count = 500
    """plateau: iterations; those of the published NCFM."""
    image_optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    """Of the images."""
    image_momentum: Fraction = 0.5
    """sgd: classical momentum; that of IDC and DANCE."""
    image_weight_decay: NonNegative = 0.0
    """adamw: decoupled decay of the pixels towards black; 5e-4 in the published NCFM."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.image_weight_decay and self.image_optimizer != "adamw":
            raise InputError(
                f"distill.image_weight_decay is for distill.image_optimizer=adamw, and it is {self.image_optimizer}; "
                "leave one of them out."
            )

    def optimizer(self, images: Tensor) -> Optimizer:
        """The optimizer of the images, a leaf of the graph."""
        if self.image_optimizer == "sgd":
            return torch.optim.SGD([images], lr=self.image_lr, momentum=self.image_momentum)
        if self.image_optimizer == "adamw":
            return torch.optim.AdamW([images], lr=self.image_lr, weight_decay=self.image_weight_decay)
        return torch.optim.Adam([images], lr=self.image_lr)

    def is_spent(self, progress: Progress) -> bool:
        """Whether all iterations are done, or the time is used up."""
        if self.seconds is not None:
            return progress.seconds >= self.seconds
        return progress.iteration >= self.iterations

    def lr_at(self, progress: Progress) -> float:
        """Learning rate of the next iteration, by the spent share of the budget."""
        if self.image_schedule == "plateau":
            return self.image_lr * progress.plateau_factor
        if self.seconds is not None:
            spent = min(progress.seconds / self.seconds, 1.0)
        else:
            spent = (progress.iteration + 0.5) / max(self.iterations, 1)
        return self.image_lr * schedule_factor(self.image_schedule, spent)

    @property
    def lr_depends_on_length(self) -> bool:
        """Whether the learning rate of an iteration depends on how many there are."""
        return self.image_schedule not in ("constant", "plateau")

    def moment(self, progress: Progress, of: int) -> int:
        """Number of ``of`` equal parts of the budget that are spent, 0 .. of."""
        if self.seconds is not None:
            return min(int(of * progress.seconds / self.seconds), of)
        return of * progress.iteration // max(self.iterations, 1)

    def has_stalled(self, progress: Progress) -> bool:
        """Whether nothing has improved for `early_stop_patience` iterations."""
        patience = self.early_stop_patience
        return patience is not None and progress.iteration - progress.best_iteration >= patience
