"""What every export is made of: the images to train on, or those stored, with their labels."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from ncfm._utils.types import StoredImages
from ncfm.data.image_set import to_uint8
from ncfm.synthetic.synthetic_set import SyntheticSet


@dataclass(frozen=True)
class Content:
    """Images of a set, class by class, in the order that `SyntheticSet.decoded` has."""

    synthetic: SyntheticSet
    stored: bool  # the images as stored; otherwise decoded
    bits: int  # of a pixel
    images: Tensor  # (n, c, h, w) float32 in [0, 1]
    labels: Tensor  # (n,) int64
    class_names: tuple[str, ...]  # (C,) in the order of the labels; such as UTF-8 can hold
    log_probabilities: Tensor | None  # (n, C) of the soft labels, natural logarithms
    repository: str | None = None  # owner/name on the hub, for the card

    @classmethod
    def of(cls, synthetic: SyntheticSet, *, stored: bool, bits: int, repository: str | None = None) -> Content:
        """The content of a set. Soft labels are of decoded images: a stored mosaic has none."""
        images, labels = synthetic.images.flatten(0, 1), synthetic.stored_labels
        if not stored:
            images, labels = synthetic.decoded()
        soft = synthetic.soft_labels
        said = None if soft is None or len(soft) != len(images) else soft.log_probabilities()
        names = tuple(name.encode("utf-8", "replace").decode() for name in synthetic.class_names)
        return cls(synthetic, stored, bits, images.detach().cpu(), labels.cpu(), names, said, repository)

    @property
    def pixels(self) -> StoredImages:
        """The images with 8 bits, (n, c, h, w) uint8."""
        return to_uint8(self.images)

    @property
    def values(self) -> Tensor:
        """The images with as many bits as asked for: uint8, or float32 in [0, 1]."""
        return self.pixels if self.bits == 8 else self.images
