"""The real batch of an iteration: its features are computed for the classes that are asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ncfm._utils.types import Features
from ncfm.data.augment import AugmentParameters
from ncfm.distillation.objective import ALL
from ncfm.distillation.pass_sizes import class_slices


class RealBatch:
    """Features (P, n, d) of the classes of a slice by indexing, as in a tensor (C, n, d), but computed when asked.

    Memory thus holds the features of the classes at hand. Images are converted to floats in chunks: only the uint8
    images grow with n and C.

    Args:
        features_at: features (P, r, d) of the images at positions (P, r), augmented by the draw of their classes.
        positions: of the batch in the split, (C, n).
        draw: of the augmentation of the C classes.
        images_at_once: that are converted to floats together.
    """

    def __init__(
        self,
        features_at: Callable[[Tensor, AugmentParameters], Features],
        positions: Tensor,
        draw: AugmentParameters,
        images_at_once: int,
    ) -> None:
        self._features_at, self._positions, self._draw = features_at, positions, draw
        self._at_once = images_at_once

    @torch.no_grad()
    def __getitem__(self, part: slice) -> Features:
        """The features of a part of the classes."""
        at, draw = self._positions[part], self._draw.of(part)
        slices = class_slices([1] * len(at), ALL, self._at_once)
        found = [self._of_classes(at[classes], draw.of(classes)) for classes in slices]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _of_classes(self, at: Tensor, draw: AugmentParameters) -> Features:
        """Features (P, n, d) of few classes, some rows of images at a time."""
        rows = max(self._at_once // len(at), 1)
        found = [self._features_at(some, draw) for some in at.split(rows, dim=1)]
        return found[0] if len(found) == 1 else torch.cat(found, dim=1)
