"""The content of an export, decoded or stored images with their labels, and the description of a format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ncfm._utils.types import StoredImages
from ncfm.data.levels import to_uint8
from ncfm.data.pixels import check_pixels
from ncfm.formats.names import folder_names
from ncfm.synthetic.synthetic_set import SyntheticSet


@dataclass(frozen=True)
class Content:
    """Images of a set, class by class, in the order of `SyntheticSet.decoded`."""

    synthetic: SyntheticSet
    stored: bool  # whether the images are the stored ones; otherwise decoded
    bits: int  # per value
    images: Tensor  # (n, c, h, w) float32 in [0, 1]
    labels: Tensor  # (n,) int64
    class_names: tuple[str, ...]  # (C,) in the order of the labels; encodable as UTF-8
    log_probabilities: Tensor | None  # (n, C) of the soft labels, natural logarithms
    repository: str | None = None  # owner/name on the hub, for the card

    @classmethod
    def of(cls, synthetic: SyntheticSet, *, stored: bool, bits: int, repository: str | None = None) -> Content:
        """The content of a set. Soft labels belong to decoded images; stored mosaics have none."""
        check_pixels(synthetic.images, "The synthetic images")
        images, labels = synthetic.stored, synthetic.stored_labels
        if not stored:
            images, labels = synthetic.decoded()
        soft = synthetic.soft_labels
        log_probabilities = None if soft is None or len(soft) != len(images) else soft.log_probabilities()
        names = tuple(name.encode("utf-8", "replace").decode() for name in synthetic.class_names)
        images, labels = images.detach().cpu(), labels.cpu()
        return cls(synthetic, stored, bits, images, labels, names, log_probabilities, repository)

    @property
    def folder_names(self) -> tuple[str, ...]:
        """A folder name for every class (C,), valid on every file system whatever the class is called."""
        return folder_names(self.class_names)

    @property
    def pixels(self) -> StoredImages:
        """The images with 8 bits, (n, c, h, w) uint8."""
        return to_uint8(self.images)

    @property
    def values(self) -> Tensor:
        """The images with the requested bits: uint8, or float32 in [0, 1]."""
        return self.pixels if self.bits == 8 else self.images


class Format(NamedTuple):
    """A format in which a set can be written."""

    what: str  # in a few words
    write: Callable[[Content, Path], None]  # fills a file, or an empty folder
    suffix: str = ""  # of a file; "" for a folder
    bits: tuple[int, ...] = (8,)  # per value, that it supports; the first is the default
    soft: bool = True  # whether it stores soft labels
    images: tuple[bool, ...] = (False, True)  # whether it supports decoded images (False), and stored ones (True)
