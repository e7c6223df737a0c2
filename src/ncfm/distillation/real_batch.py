"""The real batches of iterations: drawn, augmented, and their features computed for the classes that are asked for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.distributed import Ranks
from ncfm._utils.stages import stage
from ncfm._utils.types import Features
from ncfm.data.augment import AugmentParameters
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.image_set import ImageSplit
from ncfm.data.strata import Strata
from ncfm.distillation.objective import ALL
from ncfm.distillation.pass_sizes import PASSES_AT_ONCE, class_slices
from ncfm.distillation.views import Views
from ncfm.networks.features import FeatureExtractor
from ncfm.training.fit import batch_norms, recompute_batch_norms

# BatchNorm statistics are a mean over batches, and depend on their sizes: passes go by the memory that is free, these
# batches must not.
STATISTICS_BATCH = 64
STATISTICS_IMAGES = 512  # of an iteration; more change little


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


class RealBatches:
    """Draws a fresh random batch of the real images for every iteration.

    Each rank draws the positions of all classes and extracts the features of its own.

    Args:
        split: the training images, uint8, of all classes; on the device, or with several ranks anywhere.
        ranks: that share the classes.
        views: normalise and augment.
        extract: the iteration's features.
        per_class: images of each class in a batch.
        strata: clusters of the split over which batches are drawn evenly; None: uniformly.
        recomputed: network whose BatchNorm statistics, if it has some, are to be those of the iteration's real images.
    """

    def __init__(
        self,
        split: ImageSplit,
        ranks: Ranks,
        views: Views,
        extract: FeatureExtractor,
        *,
        per_class: int,
        strata: Strata | None = None,
        recomputed: nn.Module | None = None,
    ) -> None:
        self.whole, self.classes = split, ranks.share(len(split.counts))
        self.split = split if ranks.is_single else split.of_classes(self.classes).to(views.device)
        self._first_image = int(split.offsets[self.classes][0])
        self.per_class, self.strata, self.views, self.extract = per_class, strata, views, extract
        self._recomputed = recomputed if recomputed is not None and batch_norms(recomputed) else None

    def features(self, draw: AugmentParameters, generator: Generator) -> Features:
        """Features (C, n, d) of a fresh batch, augmented by the draw of all classes; no gradient."""
        return self.batch(draw, generator)[ALL]

    @torch.no_grad()
    def batch(self, draw: AugmentParameters, generator: Generator) -> RealBatch:
        """A fresh batch of all classes, augmented by their draw."""
        at, at_once = self._positions(generator), PASSES_AT_ONCE * self.extract.chunk_size
        if self._recomputed is not None:
            # Every batch has images of all classes, on every rank: a part of them has other statistics.
            rows = max(STATISTICS_IMAGES // len(at), 1)
            first = self.views.of_real(self.whole, at[:, :rows], draw).transpose(0, 1)
            recompute_batch_norms(self._recomputed, first.flatten(0, 1).split(STATISTICS_BATCH))
        return RealBatch(self.features_at, at[self.classes] - self._first_image, draw.of(self.classes), at_once)

    def _positions(self, generator: Generator) -> Tensor:
        """Random positions of all classes in the whole split, (C, n)."""
        with stage("real batch"):
            if self.strata is None:
                return draw_class_batches(self.whole, self.per_class, generator)
            return self.strata.draw(self.per_class, generator).to(self.whole.labels.device, non_blocking=True)

    def features_at(self, at: Tensor, draw: AugmentParameters) -> Features:
        """Features (C, n, d) of the rank's real images at positions (C, n)."""
        images = self.views.of_real(self.split, at, draw)
        with stage("real features"):
            return self.extract.without_gradient(images.flatten(0, 1)).unflatten(0, at.shape)
