"""The two players of the min-max: each has its tensors, its optimizer and its gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Generator, Tensor
from torch.optim import Optimizer

from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.types import Features, PerGroup
from ncfm.distillation.budget import Budget
from ncfm.distillation.objective import Objective


class Player:
    """The tensors that one side updates, with their optimizer.

    Args:
        tensors: leaves of the graph.
        optimizer: of exactly these tensors; with ``maximize=True`` for the side that ascends.
    """

    def __init__(self, tensors: Sequence[Tensor], optimizer: Optimizer) -> None:
        self.tensors = list(tensors)
        self.optimizer = optimizer

    @property
    def active(self) -> list[Tensor]:
        """The tensors that an update changes: those that require gradients, see `ConditionedSampler`."""
        return [tensor for tensor in self.tensors if tensor.requires_grad]

    def update(self, gradients: Sequence[Tensor]) -> None:
        """One optimizer step with the given gradients of the `active` tensors.

        The others have no gradient, so that the optimizer skips them. A gradient of 0 would not do: Adam moves a tensor
        by the moments of its earlier gradients.
        """
        for tensor, gradient in zip(self.active, gradients, strict=True):
            tensor.grad = gradient
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def ascend(
    objective: Objective,
    adversary: Player,
    real: Features,
    synthetic: Features,
    generator: Generator,
    ranks: Ranks = ALONE,
) -> PerGroup:
    """One update of the adversary with the images frozen; returns the discrepancies (C,) before it, on this rank."""
    measured = objective.measure(real.detach(), synthetic.detach(), generator)
    value = measured.discrepancy if measured.criterion is None else measured.criterion
    adversary.update(ranks.sum(torch.autograd.grad(value.sum(), adversary.active)))
    return measured.discrepancy.detach()


def make_players(
    start: Tensor, objective: Objective, device: torch.device, budget: Budget, adversary_lr: float
) -> tuple[Player, Player | None]:
    """The images, which descend, and the adversary, which ascends (None if there is nothing to learn)."""
    pixels = start.to(device, copy=True).requires_grad_()
    images = Player([pixels], budget.optimizer(pixels))
    objective.to(device)
    if objective.adversary is None:
        return images, None
    tensors = list(objective.adversary.parameters())
    return images, Player(tensors, torch.optim.Adam(tensors, lr=adversary_lr, maximize=True))
