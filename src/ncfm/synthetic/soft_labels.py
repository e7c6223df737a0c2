"""Soft labels: class probabilities predicted by teachers, stored compactly or computed during student training.

A hard label is a class index, a soft label a distribution over the classes. Soft labels take storage that a fair
comparison has to count: `SoftLabels.image_equivalents` expresses it in images. Teachers that relabel every batch
(`TeacherTargets`) store nothing with the set, but must be available when students are trained.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from ncfm._utils.checks import InputError, check_fraction, check_known, check_positive
from ncfm._utils.progress import counted
from ncfm._utils.tensors import check_dense

PRECISIONS = ("float16", "uint8")
FLOOR = 16.0  # nats: with uint8, log-probabilities below -FLOOR (1e-7) are stored as -FLOOR, in steps of FLOOR / 255


@dataclass(frozen=True, eq=False)
class SoftLabels:
    """Log-probabilities of the classes of n images, all of them or the k largest.

    Create with `SoftLabels.of`. The probability that the k stored classes leave is distributed equally over the others.
    """

    values: Tensor  # (n, k) float16 log-probabilities, or uint8 levels of them; largest first if k < C
    classes: Tensor | None  # (n, k) int16 class of each value; None if k = C, in the order of the classes
    num_classes: int  # C

    def __post_init__(self) -> None:
        check_dense(self.values, "The soft labels")
        if self.values.ndim != 2 or not (self.values.is_floating_point() or self.values.dtype == torch.uint8):
            raise InputError(
                f"Soft labels must be floats or levels (uint8) of shape (n, k), got {self.values.dtype} "
                f"{tuple(self.values.shape)}; create them with SoftLabels.of."
            )
        self._check_classes()

    def _check_classes(self) -> None:
        """Check that there is a value of every class, or that every value has a class of its own.

        Raises:
            NcfmError: otherwise.
        """
        kept, classes = self.values.shape[1], self.classes
        if classes is None:
            if kept != self.num_classes:
                raise InputError(
                    f"Soft labels of {counted(self.num_classes, 'class')} need as many values, got {kept}."
                )
            return
        check_dense(classes, "The classes of the soft labels")
        if classes.shape != self.values.shape or classes.is_floating_point() or not 1 <= kept <= self.num_classes:
            raise InputError(
                f"Soft labels need a class of each value, at most {self.num_classes} for an image, got values "
                f"{tuple(self.values.shape)} and classes {tuple(classes.shape)} ({classes.dtype})."
            )
        ordered = classes.long().sort(1).values
        if len(ordered) and not (int(ordered.min()) >= 0 and int(ordered.max()) < self.num_classes):
            raise InputError(
                f"The classes of soft labels must lie in 0..{self.num_classes - 1}, got {int(ordered.min())}.."
                f"{int(ordered.max())}."
            )
        if bool((ordered.diff(dim=1) == 0).any()):
            raise InputError("The classes of a soft label must differ, but some stand twice; store each once.")

    @classmethod
    def of(cls, log_probabilities: Tensor, *, top_k: int | None = None, precision: str = "float16") -> SoftLabels:
        """Store log-probabilities (n, C).

        Args:
            log_probabilities: natural logarithms; every row sums to 1 after ``exp``.
            top_k: classes kept for each image; default all.
            precision: "float16" (relative error of a probability below 1 % if it is above e^-16), or "uint8" (half the
                bytes of float16; log-probabilities from 0 to -16 in 255 steps, a relative error of at most 3.2 %).

        Raises:
            NcfmError: for rows that are not distributions, more than 32767 classes, or an unknown precision.
        """
        check_known(precision, PRECISIONS, "precision of soft labels")
        check_dense(log_probabilities, "The soft labels")
        num_classes = log_probabilities.shape[-1] if log_probabilities.ndim == 2 else 0
        if num_classes == 0:
            raise InputError(f"Soft labels must have the shape (n, C), got {tuple(log_probabilities.shape)}.")
        sums = log_probabilities.double().exp().sum(1)
        if not bool(((sums - 1).abs() < 1e-3).all()):
            raise InputError("Soft labels must be log-probabilities: exp of every row sums to 1; use log_softmax.")
        if num_classes > torch.iinfo(torch.int16).max:
            raise InputError(f"Soft labels are stored for at most 32767 classes, got {num_classes}.")
        if top_k is not None and not 1 <= top_k <= num_classes:
            raise InputError(f"top_k must lie in 1..{num_classes} for {counted(num_classes, 'class')}, got {top_k}.")
        kept, classes = log_probabilities.float().cpu(), None
        if top_k is not None and top_k < num_classes:
            kept, at = kept.topk(top_k, dim=1)
            classes = at.to(torch.int16)
        if precision == "uint8":
            return cls((kept.clamp(-FLOOR, 0) * (-255 / FLOOR)).round().to(torch.uint8), classes, num_classes)
        return cls(kept.to(torch.float16), classes, num_classes)

    def __len__(self) -> int:
        return len(self.values)

    def log_probabilities(self) -> Tensor:
        """The stored distributions as natural logarithms, (n, C) float32, renormalised."""
        kept = self.values.float()
        if self.values.dtype == torch.uint8:
            kept = kept * (-FLOOR / 255)
        if self.classes is None:
            return F.log_softmax(kept, dim=1)
        left = (1 - kept.exp().sum(1, keepdim=True)).clamp_min(1e-12)
        others = (left / max(self.num_classes - kept.shape[1], 1)).log()
        dense = others.expand(-1, self.num_classes).clone()
        return F.log_softmax(dense.scatter_(1, self.classes.long(), kept), dim=1)

    @property
    def num_bytes(self) -> int:
        """Size of the stored labels in bytes."""
        return sum(t.numel() * t.element_size() for t in (self.values, self.classes) if t is not None)

    def image_equivalents(self, channels: int, image_size: int) -> float:
        """Number of stored 8-bit images that take as many bytes as these labels."""
        return self.num_bytes / (channels * image_size**2)


class SoftTargets(NamedTuple):
    """Training targets from stored soft labels, see `distillation_loss`."""

    log_probabilities: Tensor  # (n, C) of the training images, in their order
    weight: float = 1.0  # of the soft loss; the hard loss gets the rest
    temperature: float = 1.0  # T

    def checked(self, num_images: int, num_classes: int) -> SoftTargets:
        """These targets.

        Raises:
            NcfmError: if the shape does not match the images and classes, or weight or temperature is out of range.
        """
        if self.log_probabilities.shape != (num_images, num_classes):
            raise InputError(
                f"Expected soft labels of shape ({num_images}, {num_classes}) for as many images and classes, "
                f"got {tuple(self.log_probabilities.shape)}."
            )
        _check_use(self)
        return self

    def probabilities(self) -> Tensor:
        """At the temperature: ``softmax(log p / T)``, (n, C)."""
        return torch.softmax(self.log_probabilities.float() / self.temperature, dim=-1)

    @property
    def name(self) -> str:
        """Name of these targets in protocol names."""
        return f"soft(T={self.temperature:g} weight={self.weight:g})"


class TeacherTargets(NamedTuple):
    """Training targets that teachers compute for every batch, see `distillation_loss`.

    `SoftTargets` belong to the stored images, and CutMix mixes them by area. These targets belong to the network inputs
    after augmentation and mixing.

    Reference:
        Beyer et al., "Knowledge Distillation: A Good Teacher Is Patient and Consistent", CVPR 2022, arXiv 2106.05237;
        for distilled sets: Sun, Shi, Shao and Lin, "On the Diversity and Realism of Distilled Dataset: An Efficient
        Dataset Distillation Paradigm" (RDED), CVPR 2024, arXiv 2312.03526.
    """

    relabel: Callable[[Tensor], Tensor]  # network inputs (n, c, h, w), normalised -> log-probabilities (n, C)
    fingerprint: str  # content hash of the teachers, part of the cache key of students
    weight: float = 1.0  # of the soft loss; the hard loss gets the rest
    temperature: float = 1.0  # T

    def checked(self) -> TeacherTargets:
        """These targets.

        Raises:
            NcfmError: if weight or temperature is out of range.
        """
        _check_use(self)
        return self

    @torch.no_grad()
    def probabilities(self, inputs: Tensor) -> Tensor:
        """At the temperature: ``softmax(log p / T)``, (..., n, C), of inputs (..., n, c, h, w); no gradient."""
        log_probabilities = self.relabel(inputs.flatten(0, -4))
        return torch.softmax(log_probabilities.float() / self.temperature, dim=-1).unflatten(0, inputs.shape[:-3])

    @property
    def name(self) -> str:
        """Name of these targets in protocol names."""
        return f"teacher(T={self.temperature:g} weight={self.weight:g})"


StudentTargets: TypeAlias = SoftTargets | TeacherTargets
"""Soft training targets, in addition to hard labels or instead of them."""


def _check_use(targets: StudentTargets) -> None:
    check_fraction(targets.weight, "weight of the soft labels")
    check_positive(targets.temperature, "temperature")


def distillation_loss(logits: Tensor, probabilities: Tensor, temperature: float) -> Tensor:
    """Cross-entropy to soft targets for each image: ``-T^2 sum_c p_c log softmax(logits / T)_c``.

    The factor T^2 keeps the scale of the gradients when the temperature changes. The value differs from T^2 times the
    Kullback-Leibler divergence by the targets' entropy, which does not depend on the network.

    Args:
        logits: (..., C).
        probabilities: (..., C), at the same temperature.
        temperature: T above 0.

    Reference:
        Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015, arXiv 1503.02531.

    >>> float(distillation_loss(torch.zeros(2), torch.tensor([0.5, 0.5]), 1.0))  # log 2
    0.6931471824645996
    """
    return -(probabilities * F.log_softmax(logits / temperature, dim=-1)).sum(-1) * temperature**2
