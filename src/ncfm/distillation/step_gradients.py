"""Losses and gradients of an iteration of distribution matching: pass by pass, or by one compiled graph.

The loss is ``w_1 sum_c D_c + w_2 L`` with the discrepancies D_c and the calibration L. The images descend it, and the
adversary ascends the first term.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

from ncfm._utils.accelerator import graph_mode
from ncfm._utils.stages import stage
from ncfm._utils.types import Features
from ncfm.data.augment import AugmentParameters
from ncfm.distillation.calibration import Calibration
from ncfm.distillation.class_passes import GradientSum, PassGradients, matching_loss, pass_gradients
from ncfm.distillation.objective import ALL, Draw, Measured, Objective, draw_once
from ncfm.distillation.pass_sizes import class_slices
from ncfm.distillation.real_batch import RealBatch
from ncfm.distillation.synthetic_batch import SyntheticBatch


class StepGradients:
    """Takes losses and gradients.

    Args:
        objective: measures D.
        synthetic: the images.
        calibration: L and its weight w_2, which is 0 if it has an update of its own.
        matching_weight: w_1.
        in_one_graph: compile everything from the stored images to both losses as one.
    """

    def __init__(
        self,
        objective: Objective,
        synthetic: SyntheticBatch,
        calibration: Calibration,
        *,
        matching_weight: float,
        in_one_graph: bool,
    ) -> None:
        self.objective, self.synthetic, self.calibration = objective, synthetic, calibration
        self.weights = matching_weight, calibration.joint_weight
        # Whether the gradients of some classes can be taken before those of others.
        self.by_classes = not (in_one_graph or objective.couples_classes or objective.state())
        self._compiled_losses: Callable[..., tuple[Measured, Tensor]] | None = None
        if in_one_graph:  # shapes never change
            mode = graph_mode(synthetic.stored.device)
            self._compiled_losses = torch.compile(self._losses_of, dynamic=False, mode=mode)

    def __call__(
        self,
        real: Features | RealBatch,
        draw: AugmentParameters,
        part: slice,
        theirs: Sequence[Tensor],
        generator: Generator,
    ) -> PassGradients:
        """Losses and gradients of a part of the classes; 0 for images of other classes.

        Args:
            real: features of the real batch, of all classes of the rank.
            draw: of the augmentation, of the same classes.
            part: the classes.
            theirs: tensors of the adversary, if it updates too.
            generator: draws the objective's random numbers.
        """
        if self._compiled_losses is not None:
            losses = self._compiled_losses(real[part], draw.of(part), generator, part)
            return self._of_losses(losses, part, theirs)
        with stage("discrepancy"):
            drawn = draw_once(self.objective, generator)
        through = [drawn.frequencies] if theirs and drawn.frequencies is not None else theirs
        total = GradientSum(self.synthetic.stored)
        for classes in self.passes(part):
            share = self.calibration.share(classes, part)
            total.add(classes, self._of_pass(real[classes], draw.of(classes), classes, drawn, through, share))
        found = total.result()
        if through is theirs:
            return found
        with stage("adversary"):
            return found._replace(others=torch.autograd.grad(through, theirs, grad_outputs=found.others))

    def passes(self, part: slice = ALL) -> list[slice]:
        """The classes of a part in slices, each of which is a pass with gradient."""
        if not self.by_classes:
            return [part]
        synthetic = self.synthetic
        return class_slices(synthetic.classes.images_of_class, part, synthetic.extract.gradient_chunk_size)

    def _of_pass(
        self,
        real: Features,
        draw: AugmentParameters,
        classes: slice,
        drawn: Draw,
        through: Sequence[Tensor],
        share: float,
    ) -> PassGradients:
        """Losses and gradients of the classes of a slice; the calibration is weighted by their share in the mean."""
        synthetic, calibration = self.synthetic, self.calibration
        own = synthetic.stored[classes].detach().requires_grad_()
        training = synthetic.views.of_stored(own, draw)
        found = pass_gradients(
            training,
            real,
            classes,
            drawn=drawn,
            features_of=lambda images: synthetic.features_of(images, classes),
            calibrate=(lambda images: share * calibration.loss(images, classes)) if self.weights[1] else None,
            weights=self.weights,
            others=through,
        )
        with stage("backward"):
            (gradient,) = torch.autograd.grad(training, own, found.images)
        return found._replace(images=gradient)

    def _of_losses(self, losses: tuple[Measured, Tensor], part: slice, theirs: Sequence[Tensor]) -> PassGradients:
        """The gradients of both players from the graph of all losses."""
        measured, calibration = losses[0], self.synthetic.classes.share(part) * losses[1]
        # The calibration does not depend on the adversary, so one loss serves both players: each takes the gradient of
        # its own tensors, and the adversary's optimizer maximises.
        matching = matching_loss(measured, with_adversary=bool(theirs))
        loss = self.weights[0] * matching + self.weights[1] * calibration
        images, *others = torch.autograd.grad(loss, [self.synthetic.stored, *theirs])
        # Copies, because a compiled step overwrites its losses.
        copies = Measured._make(None if value is None else value.detach().clone() for value in measured)
        return PassGradients(copies, calibration.detach().clone(), images, tuple(others))

    def _losses_of(
        self, real: Features, draw: AugmentParameters, generator: Generator, part: slice = ALL
    ) -> tuple[Measured, Tensor]:
        """Discrepancies (C,) with their parts, and calibration () of a part of the classes: all that has a gradient."""
        training = self.synthetic.training_images(draw, part)
        measured = self.objective.measure(real, self.synthetic.features_of(training, part), generator)
        return measured, self.calibration.loss(training, part) if self.weights[1] else training.new_zeros(())

    def of_calibration(self, draw: AugmentParameters, part: slice) -> tuple[Tensor, Tensor]:
        """The calibration () of a part of the classes, its share in that of all, and its weighted gradient, in passes.

        Args:
            draw: of the augmentation, of all classes of the rank.
            part: the classes.
        """
        stored, calibration = self.synthetic.stored, self.calibration
        total, gradient = stored.new_zeros(()), torch.zeros_like(stored)
        for classes in self.passes(part):
            own = stored[classes].detach().requires_grad_()
            training = self.synthetic.views.of_stored(own, draw.of(classes))
            loss = calibration.share(classes, part) * calibration.loss(training, classes)
            (gradient[classes],) = torch.autograd.grad(calibration.weight * loss, own)
            total = total + loss.detach()
        return total, gradient
