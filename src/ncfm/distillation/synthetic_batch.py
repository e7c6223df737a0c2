"""The synthetic images of an iteration: as training images, and their features."""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm._utils.types import Features, GroupedImages
from ncfm.data.augment import AugmentParameters
from ncfm.distillation.objective import ALL
from ncfm.distillation.pass_sizes import PASSES_AT_ONCE, class_slices
from ncfm.distillation.step_classes import StepClasses
from ncfm.distillation.views import Views
from ncfm.networks.features import FeatureExtractor


class SyntheticBatch:
    """The synthetic images of a rank's classes; all of them are in every iteration.

    Args:
        stored: (C, ipc, c, h, w) in [0, 1]; iterations change it in place.
        classes: of the rank.
        views: decode, normalise and augment.
        extract: the iteration's features.
    """

    def __init__(self, stored: Tensor, classes: StepClasses, views: Views, extract: FeatureExtractor) -> None:
        self.stored, self.classes, self.views, self.extract = stored, classes, views, extract

    def training_images(self, draw: AugmentParameters, part: slice = ALL) -> GroupedImages:
        """The images (C, m, c, h, w) of a part of the classes as a network sees them, augmented by the part's draw."""
        return self.views.of_stored(self.stored[part], draw)

    def features_of(self, training: GroupedImages, part: slice = ALL) -> Features:
        """Features with gradient, (C, m, d); of unequal classes (M, d), those of the images in use."""
        sizes = self.classes.sizes.of(part)
        return sizes.features(self.extract(sizes.images(training)))

    @torch.no_grad()
    def features(self, draw: AugmentParameters) -> Features:
        """The features of all images without gradient, some classes at a time."""
        found = []
        for part in class_slices(self.classes.images_of_class, ALL, PASSES_AT_ONCE * self.extract.chunk_size):
            sizes, training = self.classes.sizes.of(part), self.training_images(draw.of(part), part)
            found.append(sizes.features(self.extract.without_gradient(sizes.images(training))))
        return torch.cat(found)
