"""Pixels as they are stored and as networks see them: 256 levels, and floats in [0, 1]."""

from __future__ import annotations

import torch

from ncfm._utils.types import Images, StoredImages


def to_float(images: StoredImages) -> Images:
    """Convert 8-bit pixels to floats in [0, 1]."""
    return images.to(torch.float32).div_(255)


def to_uint8(images: Images) -> StoredImages:
    """Convert floats in [0, 1] to the nearest of 256 levels; values outside are clamped."""
    return images.mul(255).round_().clamp_(0, 255).to(torch.uint8)
