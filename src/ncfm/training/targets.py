"""The targets of a classifier: hard labels, soft labels, and those of mixed images."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ncfm._utils.accelerator import to_device
from ncfm.data.cutmix import Pasting, cutmix, draw_pasting, no_pasting
from ncfm.synthetic.soft_labels import StudentTargets, TeacherTargets, distillation_loss
from ncfm.training.recipe import TrainingRecipe


class Targets(NamedTuple):
    """The targets of images (..., n); leading axes are students."""

    labels: Tensor  # (..., n) int64
    soft: Tensor | None  # (..., n, C) probabilities at the temperature
    weight: float  # of the soft loss
    temperature: float
    teachers: TeacherTargets | None = None  # that give ``soft`` for every augmented and mixed batch

    def at(self, positions: Tensor) -> Targets:
        """The targets of the images at ``positions``."""
        return self._replace(labels=self.labels[positions], soft=None if self.soft is None else self.soft[positions])

    def shown(self, inputs: Tensor) -> Targets:
        """The targets of the same images as network inputs (..., n, c, h, w); teachers, if any, label these inputs."""
        return self if self.teachers is None else self._replace(soft=self.teachers.probabilities(inputs))

    def pasted(self, order: Tensor) -> Targets:
        """The targets of the part that was pasted into each image, taken from image ``order`` (..., n)."""
        soft = self.soft
        if soft is not None and self.teachers is None:  # teachers label the mixed image, with both parts
            soft = soft.take_along_dim(order[..., None], dim=-2)
        return self._replace(labels=self.labels.gather(-1, order), soft=soft)

    def losses(self, logits: Tensor, recipe: TrainingRecipe) -> Tensor:
        """The loss of each image, (..., n), from logits (..., n, C)."""
        if self.soft is not None and self.weight == 1:
            return distillation_loss(logits, self.soft, self.temperature)
        hard = F.cross_entropy(
            logits.flatten(0, -2), self.labels.flatten(), label_smoothing=recipe.label_smoothing, reduction="none"
        ).view(self.labels.shape)
        if self.soft is None:
            return hard
        return (1 - self.weight) * hard + self.weight * distillation_loss(logits, self.soft, self.temperature)


def make_targets(labels: Tensor, soft: StudentTargets | None, device: torch.device) -> Targets:
    """Targets on the device from labels (n,), and soft labels or teachers if there are any."""
    if soft is None:
        return Targets(to_device(labels, device), None, 0.0, 1.0)
    if isinstance(soft, TeacherTargets):
        return Targets(to_device(labels, device), None, soft.weight, soft.temperature, soft)
    return Targets(to_device(labels, device), to_device(soft.probabilities(), device), soft.weight, soft.temperature)


def maybe_cutmix(x: Tensor, recipe: TrainingRecipe, generator: Generator) -> tuple[Tensor, Tensor | None, float]:
    """The batch, mixed or not: images, the order of the pasted images (None: nothing), and the remaining share."""
    if _is_mixed(recipe, generator):
        return cutmix(x, generator)
    return x, None, 1.0


def maybe_pasting(size: int, image_size: int, recipe: TrainingRecipe, generator: Generator) -> Pasting:
    """What `maybe_cutmix` would paste into a batch of so many images, from the same draws."""
    if _is_mixed(recipe, generator):
        return draw_pasting(size, image_size, image_size, generator)
    return no_pasting(size)


def _is_mixed(recipe: TrainingRecipe, generator: Generator) -> bool:
    return float(torch.rand((), generator=generator)) < recipe.cutmix_probability


def mixed_loss(
    logits: Tensor, targets: Targets, order: Tensor | None, share: float | Tensor, recipe: TrainingRecipe
) -> Tensor:
    """``share * loss(targets) + (1 - share) * loss(pasted)``, mean over images: () or, of students, (S,).

    Args:
        logits: (..., n, C).
        targets: of the n images.
        order: (..., n), the image of which a part was pasted into each image; None if nothing was pasted.
        share: of the area that was not pasted, one number or (S,).
        recipe: for the label smoothing.
    """
    own = targets.losses(logits, recipe).mean(-1)
    if order is None:
        return own
    return share * own + (1 - share) * targets.pasted(order).losses(logits, recipe).mean(-1)
