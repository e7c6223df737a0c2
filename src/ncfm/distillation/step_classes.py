"""The classes of a step: those of its rank, their training images, and their shares in means over all classes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ncfm._utils.checks import check_at_least
from ncfm._utils.types import Labels
from ncfm.distillation.class_sizes import ClassSizes, EqualSizes, UnequalSizes
from ncfm.distillation.objective import ALL
from ncfm.synthetic.counts import in_use
from ncfm.synthetic.formation import Formation


@dataclass(frozen=True)
class StepClasses:
    """The classes of a rank. A part of them is a slice of ``range(len(images_of_class))``."""

    num_classes: int  # of all ranks
    own: slice  # those of the rank
    images_of_all: int  # decoded synthetic images of all classes of all ranks
    images_of_class: list[int]  # decoded synthetic images of each class of the rank
    sizes: ClassSizes  # which of the decoded images these are

    @classmethod
    def of(
        cls, num_classes: int, own: slice, stored: Tensor, formation: Formation, counts: tuple[int, ...] | None
    ) -> StepClasses:
        """The classes of a rank's stored images (C, ipc, c, h, w), of which each class uses its count.

        Args:
            num_classes: of all ranks.
            own: those of the rank.
            stored: images of the rank's classes.
            formation: of the stored images.
            counts: stored images of each class of all ranks; None: all of them.
        """
        ipc = stored.shape[1]
        used = formation.decoded_in_use(in_use(counts or (ipc,) * num_classes, ipc))  # of all ranks
        sizes = EqualSizes(used.shape[1]) if counts is None else UnequalSizes(used[own], stored.device)
        return cls(num_classes, own, int(used.sum()), used[own].sum(1).tolist(), sizes)

    def __len__(self) -> int:
        return len(self.images_of_class)

    @property
    def num_images(self) -> int:
        """Decoded synthetic images of all classes of the rank."""
        return sum(self.images_of_class)

    def parts(self, classes_per_step: int | None) -> list[slice]:
        """Parts of at most ``classes_per_step`` classes each; None: all classes are one."""
        if classes_per_step is None or classes_per_step >= len(self):
            return [ALL]
        check_at_least(classes_per_step, 1, "classes_per_step")
        return [slice(first, first + classes_per_step) for first in range(0, len(self), classes_per_step)]

    def share(self, part: slice) -> float:
        """Share of a part in a mean over all classes of all ranks."""
        return len(range(*part.indices(len(self)))) / self.num_classes

    def share_by_images(self, classes: slice, part: slice) -> float:
        """Share of some classes of a part in a mean over the images of all classes of all ranks."""
        of_part = sum(self.images_of_class[part])
        return sum(self.images_of_class[classes]) / of_part * (of_part / self.images_of_all)

    def labels(self, part: slice, device: torch.device) -> Labels:
        """The class (M,) of each training image of a part."""
        return self.sizes.of(part).labels(torch.arange(self.num_classes, device=device)[self.own][part])
