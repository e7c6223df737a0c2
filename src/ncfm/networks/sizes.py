"""Minimum sizes of images and feature maps, and the size from which images count as large.

An instance norm subtracts the mean of every feature map. A map of one pixel equals its mean, so that the norm turns it
into the same constant for every image. Therefore no network here strides or pools below two pixels per side before its
last normalised layer. This holds for every norm, so that the architecture does not depend on the norm.
"""

from __future__ import annotations

from collections.abc import Iterable

from ncfm._utils.checks import InputError

SMALLEST_MAP = 2  # pixels per side, before a normalised layer
SMALLEST_IMAGE = 8  # pixels per side
LARGE_IMAGE = 96  # pixels per side from which a network has the stem of its paper for ImageNet


def check_image_size(image_size: int) -> None:
    """Raise NcfmError for an image below `SMALLEST_IMAGE`."""
    if image_size < SMALLEST_IMAGE:
        raise InputError(
            f"This network needs images of at least {SMALLEST_IMAGE} px, got {image_size} px; "
            "convnet and mlp accept smaller ones."
        )


def check_depth(what: str, depth: int, known: Iterable[int]) -> None:
    """Raise NcfmError unless the depth is one of the known depths of ``what``."""
    *first, last = sorted(known)
    if depth not in (*first, last):
        raise InputError(f"The depth of a {what} is {', '.join(map(str, first))} or {last}, got {depth}.")
