"""External sets: the images of another program, or of an export, as they train a network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.types import GroupedImages, LabelledImages, Statistics
from ncfm.data.image_set import ImageSet
from ncfm.synthetic.formation import Formation, cut
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet

WHOLE = Formation(factor=1)


class External(NamedTuple):
    """A set that another program wrote, or that was exported."""

    images: LabelledImages  # as stored, labels in the order of the real data's classes
    notes: tuple[str, ...]  # what was chosen, done to its pixels, or is missing
    shown: Statistics | None = None  # how networks are shown them; None: as the real data are
    formation: Formation = WHOLE  # how many training images a stored one holds
    soft_labels: SoftLabels | None = None  # of the training images, in the order of `decoded`

    def decoded(self) -> LabelledImages:
        """The images to train on: whole ones in their own order, the tiles of a mosaic one after the other.

        In the modes "multi" and "bounded" they come class by class, as those of the set that was exported.
        """
        if self.formation.mode == "single":
            images, labels = self.images
            factor = self.formation.factor
            return LabelledImages(cut(images, factor), labels.repeat_interleave(factor**2))
        classes = self.images.labels.unique()
        groups = [self.formation.decode(self.images.images[None, self.images.labels == c])[0] for c in classes]
        return LabelledImages(torch.cat(groups), classes.repeat_interleave(torch.tensor([*map(len, groups)])))

    def storage(self, num_classes: int) -> float:
        """Stored images per class; soft labels are counted as the number of images that take as many bytes."""
        images = self.images.images
        soft = self.soft_labels
        labels = 0.0 if soft is None else soft.image_equivalents(images.shape[1], images.shape[-1])
        return (len(images) + labels) / num_classes


def by_class(images: LabelledImages) -> tuple[GroupedImages, Tensor]:
    """The images of each class (C', ipc, c, h, w) in their order, and the classes (C',).

    Raises:
        InputError: unless all classes that have images have equally many.
    """
    classes, counts = images.labels.unique(return_counts=True)
    if bool((counts != counts[0]).any()):
        raise InputError(
            f"Expected as many images in every class, got {int(counts.min())} to {int(counts.max())}; "
            "keep the same number of each."
        )
    order = images.labels.argsort(stable=True)
    return images.images[order].unflatten(0, (len(classes), int(counts[0]))), classes


def as_synthetic(external: External, real: ImageSet) -> SyntheticSet:
    """The stored images as a set of this package, of the classes that have images, without soft labels.

    Its pixels lie in [0, 1]: values outside are clamped.

    Raises:
        InputError: as `by_class`.
    """
    groups, classes = by_class(external.images)
    names = tuple(real.class_names[i] for i in classes.tolist())
    factor, mode, bound = external.formation.factor, external.formation.mode, external.formation.bound
    return SyntheticSet(groups.clamp(0, 1), names, real.statistics, factor, mode, bound)
