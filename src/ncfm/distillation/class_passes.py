"""Losses and gradients of an iteration, pass by pass over the classes: memory holds the activations of one pass.

Classes share the frequencies, which are drawn once, and the adversary, whose gradient is a sum over classes. The
gradient of an image depends on its own class only. The result is thus that of one pass over all classes; what differs
is the order in which rounded numbers are added.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._utils.stages import stage
from ncfm._utils.types import Features, GroupedImages
from ncfm.distillation.objective import Draw, Measured


class PassGradients(NamedTuple):
    """What a pass gives."""

    measured: Measured  # of its classes, without graph
    calibration: Tensor  # () without graph, weighted by the share of its images in the mean
    images: Tensor  # gradient of its images
    others: tuple[Tensor, ...]  # gradients of the adversary's tensors, or of the frequencies that lead to them


def pass_gradients(
    training: GroupedImages,
    real: Features,
    classes: slice,
    *,
    drawn: Draw,
    features_of: Callable[[GroupedImages], Features],
    calibrate: Callable[[GroupedImages], Tensor] | None,
    weights: tuple[float, float],
    others: Sequence[Tensor],
) -> PassGradients:
    """Gradients of ``w_1 sum_c D_c + w_2 L`` in the training images of a pass, one loss after the other.

    Only the activations of one of the two networks are in memory at a time.

    Args:
        training: images (P, m, c, h, w) as a network sees them.
        real: features (P, n, d) of the same classes.
        classes: which they are.
        drawn: the objective at one draw.
        features_of: features of the training images.
        calibrate: their cross-entropy L; None without.
        weights: w_1 and w_2.
        others: tensors, besides the images, in which the discrepancy has a gradient.
    """
    leaf = training.detach().requires_grad_()
    with stage("synthetic forward"):
        synthetic = features_of(leaf)
    with stage("discrepancy"):
        measured = drawn.measure(real, synthetic, classes)
        loss = weights[0] * matching_loss(measured, with_adversary=bool(others))
    with stage("backward"):
        gradient, *of_others = torch.autograd.grad(loss, [leaf, *others])
    measured = Measured._make(None if value is None else value.detach() for value in measured)
    del synthetic, loss  # with their graph, before the next one is made
    calibration = training.new_zeros(())
    if calibrate is not None:
        with stage("calibration forward"):
            calibration = calibrate(leaf)
        with stage("backward"):
            (of_calibration,) = torch.autograd.grad(weights[1] * calibration, leaf)
            gradient = gradient + of_calibration
    return PassGradients(measured, calibration.detach(), gradient, tuple(of_others))


def matching_loss(measured: Measured, *, with_adversary: bool) -> Tensor:
    """The sum () over classes of what the players take gradients of.

    A criterion is of the adversary alone, see `Objective.measure`, and left out without it.
    """
    loss = measured.discrepancy.sum()
    return loss + measured.criterion.sum() if with_adversary and measured.criterion is not None else loss


class GradientSum:
    """The result of several passes as that of one; each is added and forgotten.

    Args:
        stored: images (C, ipc, c, h, w) of all classes.
    """

    def __init__(self, stored: Tensor) -> None:
        self._stored = stored
        self._images: Tensor | None = None
        self._measured: list[Measured] = []
        self._calibration, self._others = stored.new_zeros(()), tuple[Tensor, ...]()

    def add(self, classes: slice, found: PassGradients) -> None:
        """Add a pass, with the gradient of its stored images."""
        self._measured.append(found.measured)
        self._calibration = self._calibration + found.calibration
        pairs = zip(self._others, found.others, strict=True) if self._others else ()
        self._others = tuple(a + b for a, b in pairs) or found.others
        if len(found.images) == len(self._stored):
            self._images = found.images
            return
        if self._images is None:
            self._images = torch.zeros_like(self._stored)
        self._images[classes] = found.images

    def result(self) -> PassGradients:
        """Measurements of all classes of the passes, and gradients; 0 for images of other classes."""
        assert self._images is not None
        return PassGradients(_joined(self._measured), self._calibration, self._images, self._others)


def _joined(parts: Sequence[Measured]) -> Measured:
    """The measurements of all classes from those of passes, in their order."""
    if len(parts) == 1:
        return parts[0]
    columns = zip(*parts, strict=True)
    return Measured._make(None if values[0] is None else torch.cat(values) for values in columns)
