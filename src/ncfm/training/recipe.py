"""The recipe of a training: optimizer, schedule, augmentation."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from ncfm._utils.checks import check_at_least, check_fraction, check_known
from ncfm.data.augment import SiameseAugment

LATER = {"keep_last": False}
"""Settings that were added to `TrainingRecipe`, with the value that is what it was before."""

OPTIMIZERS = ("sgd", "heavy-ball", "adamw")


SCHEDULES = ("one-cycle", "cosine", "step", "half", "fifths", "constant")


@dataclass(frozen=True)
class TrainingRecipe:
    """Everything about the training of a classifier that a comparison holds fixed.

    Schedules multiply ``lr`` over training time u in [0, 1):
    ``one-cycle`` rises linearly to u = 0.2 and falls linearly to 0; ``cosine`` is (1 + cos(pi u)) / 2;
    ``step`` is 0.2 from u = 2/3 and 0.04 from u = 5/6; ``half`` is 0.1 from u = 1/2; ``fifths`` halves at each
    fifth; ``constant`` is 1.
    """

    epochs: int
    optimizer: str  # "sgd" (with Nesterov momentum), "heavy-ball" (SGD with classical momentum) or "adamw"
    lr: float
    batch_size: int
    schedule: str
    augment: str = "none"  # a SiameseAugment strategy, drawn separately for every image
    cutmix_probability: float = 0.0  # that a batch is mixed
    momentum: float = 0.9  # not used by adamw
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0
    keep_last: bool = False  # whether an epoch ends with a batch of the images that are left over

    def __post_init__(self) -> None:
        check_at_least(self.epochs, 0, "epochs")
        check_at_least(self.batch_size, 1, "batch_size")
        check_known(self.optimizer, OPTIMIZERS, "optimizer")
        check_known(self.schedule, SCHEDULES, "schedule")
        for name in ("lr", "momentum", "weight_decay"):
            check_at_least(getattr(self, name), 0, name)
        for name in ("cutmix_probability", "label_smoothing"):
            check_fraction(getattr(self, name), name)
        SiameseAugment(self.augment)


def recipe_key(recipe: TrainingRecipe) -> list[tuple[str, Any]]:
    """Settings and their values, for the names of cached results; those of `LATER` only where they change something."""
    found = ((f.name, getattr(recipe, f.name)) for f in fields(recipe))
    return [(name, value) for name, value in found if name not in LATER or value != LATER[name]]


def recipe_text(recipe: TrainingRecipe) -> str:
    """`recipe_key` in the form of a call."""
    return f"TrainingRecipe({', '.join(f'{name}={value!r}' for name, value in recipe_key(recipe))})"


def schedule_factor(schedule: str, progress: float) -> float:
    """The factor of the learning rate at ``progress`` u in [0, 1] of the training; see `TrainingRecipe`."""
    if schedule == "one-cycle":
        return progress / 0.2 if progress < 0.2 else (1 - progress) / 0.8
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if schedule == "step":
        return 0.04 if progress >= 5 / 6 else 0.2 if progress >= 2 / 3 else 1.0
    if schedule == "half":
        return 0.1 if progress >= 0.5 else 1.0
    if schedule == "fifths":
        return 0.5 ** min(int(progress * 5), 4)
    return 1.0


def make_optimizer(
    recipe: TrainingRecipe, network: nn.Module, total_steps: int
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """The recipe's optimizer of all parameters of the network, and its schedule (one call of step() per batch)."""
    optimizer: torch.optim.Optimizer
    if recipe.optimizer in ("sgd", "heavy-ball"):
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.optimizer == "sgd" and recipe.momentum > 0,
        )
    else:
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    # The factor of step i is that of its middle, so that neither the first nor the last step has a factor of 0.
    return optimizer, LambdaLR(
        optimizer, lambda i: schedule_factor(recipe.schedule, min((i + 0.5) / max(total_steps, 1), 1.0))
    )
