"""How small images and feature maps may get, and which images count as large.

An instance norm takes from every feature map of an image its own mean. A map of one pixel *is* its mean: whatever the
image, the norm turns it into the same constant. So no network here strides or pools below two pixels a side as long
as a normalised layer is still to come; after the last one it may. That holds for every norm: a name is one
architecture whatever norm it ends with.
"""

from __future__ import annotations

from collections.abc import Iterable

from ncfm._utils.checks import NcfmError

SMALLEST_MAP = 2  # pixels a side, before a normalised layer
SMALLEST_IMAGE = 8  # pixels a side
LARGE_IMAGE = 96  # from this side on a network begins as its paper's for ImageNet does


def check_image_size(image_size: int) -> None:
    """Raise NcfmError for an image below `SMALLEST_IMAGE`."""
    if image_size < SMALLEST_IMAGE:
        raise NcfmError(
            f"This network needs images of at least {SMALLEST_IMAGE} px, got {image_size} px; "
            "convnet and mlp take smaller ones."
        )


def check_depth(what: str, depth: int, known: Iterable[int]) -> None:
    """Raise NcfmError unless the depth is one of those that ``what`` comes in."""
    *first, last = sorted(known)
    if depth not in (*first, last):
        raise NcfmError(f"The depth of a {what} is {', '.join(map(str, first))} or {last}, got {depth}.")
