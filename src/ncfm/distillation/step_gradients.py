"""Losses and gradients of an iteration of `MinMaxStep`: pass by pass, or by one compiled graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ncfm._utils.stages import stage
from ncfm._utils.types import Features
from ncfm.data.augment import AugmentParameters
from ncfm.distillation.class_passes import GradientSum, PassGradients, matching_loss, pass_gradients
from ncfm.distillation.objective import Draw, Measured, draw_once
from ncfm.distillation.real_batch import RealBatch

if TYPE_CHECKING:
    from ncfm.distillation.minmax_step import MinMaxStep


def gradients_in_passes(
    step: MinMaxStep, real: Features | RealBatch, draw: AugmentParameters, part: slice, theirs: list[Tensor]
) -> PassGradients:
    """Losses and gradients of a part of the classes, pass by pass; 0 for images of other classes.

    Args:
        step: the iteration.
        real: features of the real batch, of all classes of the rank.
        draw: of the augmentation, of the same classes.
        part: the classes.
        theirs: tensors of the adversary, if it updates too.
    """
    with stage("discrepancy"):
        drawn = draw_once(step.objective, step.streams["frequencies"])
    through = [drawn.frequencies] if theirs and drawn.frequencies is not None else theirs
    total = GradientSum(step.images.tensors[0])
    for classes in step.passes(part):
        share = step.calibration_share(classes, part)
        total.add(classes, _of_pass(step, real[classes], draw.of(classes), classes, drawn, through, share))
    found = total.result()
    if through is theirs:
        return found
    with stage("adversary"):
        return found._replace(others=torch.autograd.grad(through, theirs, grad_outputs=found.others))


def _of_pass(
    step: MinMaxStep,
    real: Features,
    draw: AugmentParameters,
    classes: slice,
    drawn: Draw,
    through: Sequence[Tensor],
    share: float,
) -> PassGradients:
    """Losses and gradients of the classes of a slice; the calibration is weighted by their share in the mean."""
    own = step.images.tensors[0][classes].detach().requires_grad_()
    training = step.as_seen(own, draw)
    found = pass_gradients(
        training,
        real,
        classes,
        drawn=drawn,
        features_of=lambda images: step.features_of(images, classes),
        calibrate=(lambda images: share * step.calibrate(images, classes)) if step.weights[1] else None,
        weights=step.weights,
        others=through,
    )
    with stage("backward"):
        (gradient,) = torch.autograd.grad(training, own, found.images)
    return found._replace(images=gradient)


def gradients_in_one_graph(
    step: MinMaxStep, real: Features | RealBatch, draw: AugmentParameters, part: slice, theirs: list[Tensor]
) -> PassGradients:
    """The same by one compiled graph, from the stored images to both losses."""
    measured, calibration = step.losses(real[part], draw.of(part), step.streams["frequencies"], part)
    calibration = step.share(part) * calibration
    # The calibration does not depend on the adversary, so one loss serves both players: each takes the gradient of its
    # own tensors, and the adversary's optimizer maximises.
    matching = matching_loss(measured, with_adversary=bool(theirs))
    loss = step.weights[0] * matching + step.weights[1] * calibration
    images, *others = torch.autograd.grad(loss, [step.images.tensors[0], *theirs])
    # Copies, because a compiled step overwrites its losses.
    copies = Measured._make(None if value is None else value.detach().clone() for value in measured)
    return PassGradients(copies, calibration.detach().clone(), images, tuple(others))


def calibration_gradient(step: MinMaxStep, draw: AugmentParameters, part: slice) -> tuple[Tensor, Tensor]:
    """The calibration () of a part of the classes, its share in that of all, and its weighted gradient, in passes."""
    stored = step.images.tensors[0]
    total, gradient = stored.new_zeros(()), torch.zeros_like(stored)
    for classes in step.passes(part):
        own = stored[classes].detach().requires_grad_()
        loss = step.calibration_share(classes, part) * step.calibrate(step.as_seen(own, draw.of(classes)), classes)
        (gradient[classes],) = torch.autograd.grad(step.calibration_weight * loss, own)
        total = total + loss.detach()
    return total, gradient
