"""The calibration: cross-entropy of the synthetic images under a trained teacher.

Reference:
    Hansong-Zhang/DANCE, ``DANCE.py``, after "inter-class view"; gszfwsb/NCFM, ``condenser/compute_loss.py``: both
    update the images once more by it alone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ncfm._utils.accelerator import autocast
from ncfm._utils.types import GroupedImages
from ncfm.distillation.objective import ALL
from ncfm.distillation.options import Matching
from ncfm.distillation.step_classes import StepClasses
from ncfm.networks.features import FeatureExtractor, at_least_single, in_chunks
from ncfm.networks.layout import channels_last
from ncfm.training.teachers import TeacherPool


class Calibration:
    """The cross-entropy L, its weight, and the teacher that it asks.

    Args:
        matching: weight and reduction of L, and whether it is in the update by the discrepancy or in one of its own.
        pool: of the teachers.
        classes: of the rank.
        extract: whose passes with gradient are as large as those of the teacher.
        precision: of the teacher's forward pass.
    """

    def __init__(
        self,
        matching: Matching,
        pool: TeacherPool,
        classes: StepClasses,
        extract: FeatureExtractor,
        precision: torch.dtype,
    ) -> None:
        self.pool, self.classes, self.extract, self.precision = pool, classes, extract, precision
        self.is_sum = matching.calibration_reduction == "sum"
        # The discrepancy is summed over classes; the calibration is a mean over them unless it is summed too.
        self.weight = matching.calibration_weight * (classes.num_classes if self.is_sum else 1)
        self.is_separate = matching.calibration_step == "separate" and matching.calibration_weight > 0

    @property
    def joint_weight(self) -> float:
        """Of L in the update by the discrepancy."""
        return 0.0 if self.is_separate else self.weight

    def draw_teacher(self, generator: Generator) -> None:
        """Ask a random trained teacher from now on."""
        self.pool.draw_trained(generator)

    def take_teacher_of_extractor(self, generator: Generator) -> None:
        """Ask the extractor's own teacher from now on, or a random one if the extractor is not a teacher."""
        if self.pool.drawn is None:
            self.draw_teacher(generator)
        else:
            self.pool.trained(self.pool.drawn.teacher)

    def loss(self, training: GroupedImages, part: slice = ALL) -> Tensor:
        """L () of augmented synthetic images (C, m, c, h, w) of a part of the classes, under the teacher taken last."""
        sizes, labels = self.classes.sizes.of(part), self.classes.labels(part, training.device)
        with autocast(training.device, self.precision):
            images = channels_last(sizes.images(training))
            logits = in_chunks(self.pool.classify, images, self.extract.gradient_chunk_size)
        if self.is_sum:
            return sizes.mean_of_classes(F.cross_entropy(at_least_single(logits), labels, reduction="none"))
        return F.cross_entropy(at_least_single(logits), labels)

    def share(self, classes: slice, part: slice) -> float:
        """Share of the loss of some classes in that of all classes of all ranks, where a step sees those of a part."""
        if self.is_sum:  # a mean over classes, else over images
            return self.classes.share(classes)
        return self.classes.share_by_images(classes, part)
