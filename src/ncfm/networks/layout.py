"""Memory layout of images for convolutions."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(images: Tensor) -> Tensor:
    """The images in channels-last memory format, in which convolutions are fastest."""
    return images.contiguous(memory_format=torch.channels_last)
