"""The budget: optimizers of the images, and the schedule that follows the discrepancy."""

from __future__ import annotations

import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.distillation.budget import Budget
from ncfm.distillation.checkpoint import Progress


def moved(budget, gradients):
    """A pixel at 0.5 after updates with these gradients."""
    pixel = torch.full((1,), 0.5, requires_grad=True)
    optimizer = budget.optimizer(pixel)
    for gradient in gradients:
        pixel.grad = torch.tensor([gradient])
        optimizer.step()
    return pixel.item()


def test_sgd_has_classical_momentum():
    budget = Budget(image_optimizer="sgd", image_lr=0.1, image_momentum=0.5)
    # Velocities 1, 0.5, 0.25 + 2.
    assert moved(budget, [1.0, 0.0, 2.0]) == pytest.approx(0.5 - 0.1 * (1 + 0.5 + 2.25))


def test_adamw_decays_the_pixels_and_adam_does_not():
    decay = Budget(image_optimizer="adamw", image_lr=0.1, image_weight_decay=0.2)
    assert moved(decay, [0.0]) == pytest.approx(0.5 * (1 - 0.1 * 0.2))
    assert moved(Budget(image_lr=0.1), [0.0]) == 0.5
    assert moved(Budget(image_optimizer="adamw", image_lr=0.1), [1.0]) == moved(Budget(image_lr=0.1), [1.0])


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_a_weight_decay_is_for_adamw(optimizer):
    with pytest.raises(
        NcfmError, match=f"image_weight_decay is for distill.image_optimizer=adamw, and it is {optimizer}"
    ):
        Budget(image_optimizer=optimizer, image_weight_decay=0.1)


def test_the_plateau_schedule_is_the_rate_times_the_factor_of_the_progress():
    budget = Budget(image_schedule="plateau", image_lr=0.2)
    assert budget.lr_at(Progress()) == 0.2
    assert budget.lr_at(Progress(iteration=900, plateau_factor=0.25)) == 0.05
    assert not budget.lr_depends_on_length
    assert Budget().lr_depends_on_length
