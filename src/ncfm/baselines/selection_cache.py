"""Cache of chosen training images on disk, by a content hash of everything that determines the choice."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ncfm._utils.cache import CacheEntry
from ncfm._utils.checks import InputError
from ncfm.data.image_set import ImageSplit

KIND = "selections"


def check_no_empty_class(split: ImageSplit) -> None:
    """Raise NcfmError if a class of the split has no images to choose from."""
    if int(split.counts.min()) == 0:
        empty = (split.counts == 0).nonzero().flatten().tolist()
        raise InputError(f"Classes without training images: {empty[:10]}; drop them before a selection.")


def read_choice(key: str, split: ImageSplit, per_class: int) -> dict[str, Tensor] | None:
    """The cached choice, its ``positions`` (C, per_class) each within their classes; None without a valid one."""

    def parse(entry: CacheEntry) -> dict[str, Tensor] | None:
        found = entry.tensors()
        at = found["positions"]
        if at.dtype != torch.int64 or at.shape != (len(split.counts), per_class):
            return None
        within = at - split.offsets[:, None]
        if not bool(((within >= 0) & (within < split.counts[:, None])).all()):
            return None
        return {name: value.clone() for name, value in found.items()}  # what was read is a map of the file

    return CacheEntry(KIND, key).read(parse)


def write_choice(key: str, tensors: Mapping[str, Tensor], **facts: str) -> None:
    """Cache a choice; ``facts`` stand in the header of the file."""
    CacheEntry(KIND, key).write(tensors, metadata=facts)
