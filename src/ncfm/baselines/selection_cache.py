"""Cache of chosen training images on disk, by a content hash of everything that determines the choice."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import best_effort, cache_dir, read_tensors, write_tensors
from ncfm.data.image_set import ImageSplit


def check_no_empty_class(split: ImageSplit) -> None:
    """Raise NcfmError if a class of the split has no images to choose from."""
    if int(split.counts.min()) == 0:
        empty = (split.counts == 0).nonzero().flatten().tolist()
        raise NcfmError(f"Classes without training images: {empty[:10]}; drop them before a selection.")


def read_choice(key: str, split: ImageSplit, per_class: int) -> dict[str, Tensor] | None:
    """The cached choice, with ``positions`` (C, per_class) that lie within their classes; None without a valid one."""
    try:
        found = read_tensors(_path(key))
    except NcfmError:
        return None
    at = found.get("positions")
    if at is None or at.dtype != torch.int64 or at.shape != (len(split.counts), per_class):
        return None
    within = at - split.offsets[:, None]
    if not bool(((within >= 0) & (within < split.counts[:, None])).all()):
        return None
    return {name: value.clone() for name, value in found.items()}  # the tensors that were read map the file


def write_choice(key: str, tensors: Mapping[str, Tensor], **facts: str) -> None:
    """Cache a choice; a cache that cannot be written is not an error."""
    with best_effort():
        write_tensors(_path(key), tensors, facts)


def _path(key: str) -> Path:
    return cache_dir() / "selections" / f"{key}.safetensors"
