"""Channels of an image: grey, RGB, or any other number, which is taken as it is stored."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted

GREY, RGB = 1, 3  # the only numbers of channels that are converted into each other
STORED_MODES = ("LA", "RGBA", "CMYK")  # of files whose two or four channels can be taken as they are stored


def depth_of(pixels: np.ndarray) -> int:
    """Number of channels of (h, w) or (h, w, c) pixels."""
    return GREY if pixels.ndim == 2 else int(pixels.shape[2])


def common_depth(depths: Iterable[int], place: str) -> int:
    """The channels in which all images can be shown: RGB for a mixture of grey and RGB.

    Raises:
        InputError: for any other mixture.
    """
    found = sorted(set(depths))
    if len(found) == 1:
        return found[0]
    if found == [GREY, RGB]:
        return RGB
    raise InputError(f"{place}: the images have {' and '.join(map(str, found))} channels; give all of them the same.")


def with_channels(pixels: np.ndarray, channels: int, place: str) -> np.ndarray:
    """Pixels (h, w) or (h, w, c) with the given number of channels; only grey and RGB become each other.

    Raises:
        InputError: for any other change.
    """
    depth = depth_of(pixels)
    if depth == channels:
        return pixels if pixels.ndim == 3 else pixels[..., None]
    if {depth, channels} != {GREY, RGB}:
        raise InputError(
            f"Could not make {counted(channels, 'channel')} of {place}, read as {in_words(depth)}: only grey and RGB "
            "convert; "
            f"choose data.channels={depth}, or convert the images."
        )
    converted = np.asarray(Image.fromarray(squeezed(pixels)).convert("RGB" if channels == RGB else "L"))
    return converted if channels == RGB else converted[..., None]


def stored_channels(image: Image.Image, channels: int | None) -> np.ndarray | None:
    """The pixels (h, w, c) of a file that stores two or four channels, if so many are asked for; else None.

    Alpha and black are channels then, like any other; asked for grey or RGB, such a file is converted.
    """
    if channels in (GREY, RGB) or image.mode not in STORED_MODES or len(image.getbands()) != channels:
        return None
    return np.asarray(image)


def channels_last(pixels: np.ndarray, wanted: int | None, place: str) -> np.ndarray:
    """Pixels (c, h, w) or (h, w, c) as (h, w, c).

    The axis of the channels has length 1 or 3 (the last one, if both have), or else the wanted length, or else it is
    the shortest one.

    Args:
        pixels: of three axes.
        wanted: channels that are asked for; None: those of the image.
        place: name of the image for messages.

    Raises:
        InputError: if it may be the first axis and the last one, or neither.
    """
    axis = _channel_axis(pixels.shape, wanted)
    if axis is None:
        raise InputError(
            f"{place}: expected images (h, w, c) or (c, h, w), got {pixels.shape}, where it is not clear which axis is "
            "c; state the number of channels (data.channels), or give images whose c is less than h and w."
        )
    return pixels if axis == 2 else pixels.transpose(1, 2, 0)


def _channel_axis(shape: tuple[int, ...], wanted: int | None) -> int | None:
    """The axis of the channels, 0 or 2; None if it is not clear."""
    first, middle, last = shape
    if wanted in (None, GREY, RGB):
        for axis in (2, 0):
            if shape[axis] in (GREY, RGB):
                return axis
    elif (first == wanted) != (last == wanted):
        return 0 if first == wanted else 2
    shortest = [axis for axis in (0, 2) if shape[axis] < min(middle, shape[2 - axis])]
    return shortest[0] if shortest else None


def visible(images: Tensor) -> Tensor:
    """The channels of images (..., c, h, w) that a picture shows: the first three as RGB, or the first in grey."""
    return images[..., : RGB if images.shape[-3] >= RGB else GREY, :, :]


def in_words(channels: int) -> str:
    """What images of so many channels are called.

    >>> in_words(1), in_words(3), in_words(4)
    ('grey', 'RGB', '4 channels')
    """
    return {GREY: "grey", RGB: "RGB"}.get(channels, counted(channels, "channel"))


def squeezed(pixels: np.ndarray) -> np.ndarray:
    """Pixels (h, w, 1) as (h, w), as Pillow expects grey ones."""
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == GREY else pixels
