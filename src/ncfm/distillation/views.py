"""Images as the networks see them: normalised, and augmented alike in the real and the synthetic half of a class."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ncfm._utils.accelerator import to_device
from ncfm._utils.stages import stage
from ncfm._utils.types import GroupedImages, Statistics
from ncfm.data.augment import AugmentParameters, SiameseAugment
from ncfm.data.image_set import ImageSplit
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalizer
from ncfm.synthetic.formation import Formation


class Views:
    """Makes the views of real and of synthetic images.

    Args:
        strategy: of the `SiameseAugment`.
        statistics: of the normalisation.
        formation: of the stored images.
        num_classes: of all ranks: each draws the augmentation of all classes, so that their draws are the same.
        image_size: in pixels.
        device: of the views.
    """

    def __init__(
        self,
        strategy: str,
        statistics: Statistics,
        formation: Formation,
        *,
        num_classes: int,
        image_size: int,
        device: torch.device,
    ) -> None:
        self.augment, self.formation = SiameseAugment(strategy), formation
        self.normalize = normalizer(statistics, device)
        self._num_classes, self._image_size, self.device = num_classes, image_size, device

    def draw(self, generator: Generator) -> AugmentParameters:
        """An augmentation for every class, on all ranks; on the device."""
        return self.augment.draw(self._num_classes, self._image_size, generator, choose_each=True).to(self.device)

    def of_real(self, split: ImageSplit, at: Tensor, draw: AugmentParameters) -> GroupedImages:
        """Images of a split at positions (C, n), normalised and augmented, (C, n, c, h, w)."""
        with stage("real batch"):
            stored = to_device(split.batch(at.flatten()), self.device)
            batch = self.normalize(to_float(stored).unflatten(0, at.shape))
        with stage("augmentation"):
            return self.augment.apply(batch, draw)

    def of_stored(self, stored: GroupedImages, draw: AugmentParameters) -> GroupedImages:
        """Stored images (C, ipc, c, h, w) decoded, normalised and augmented, (C, m, c, h, w)."""
        with stage("decoding"):
            decoded = self.normalize(self.formation.decode(stored))
        with stage("augmentation"):
            return self.augment.apply(decoded, draw)
