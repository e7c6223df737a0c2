"""Pillow images of every mode as 8-bit pixels.

Pillow's own conversion to 8 bits drops transparency, and clips 16-bit and float pixels at 255, so that nearly all
become white. Here transparent images are drawn over white, the paper of documents and web pages: most cut-outs and
drawings with transparency are made for it, and a dark drawing over black would vanish. What is chosen is returned as
traits of the image, to be reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageOps

from ncfm._utils.progress import counted
from ncfm.data.channels import stored_channels

GREY_MODES = ("1", "L", "LA", "La", "I", "F")
ALPHA_MODES = ("LA", "La", "PA", "RGBA", "RGBa")
KEY_MODES = ("1", "L", "P", "RGB")  # one colour, or entries of the palette, may be transparent
LAYERED = ("PSD",)  # their frames are layers of the one image
BITS = (8, 10, 12, 14, 16)  # of cameras and scanners; stored in 16-bit or 32-bit pixels

TRANSPARENT, OPAQUE, FRAMES, FLOATS, DEEP = "transparent", "opaque", "frames", "floats", "deep"
REMARKS = {
    TRANSPARENT: "with transparency: drawn over white",
    OPAQUE: "with a transparent colour and more than 8 bits: read as opaque",
    FRAMES: "with several frames or pages: only one is read, of a file the first",
    FLOATS: "of floats in [0, 1]: 1 is read as white",
}
"""What is reported of images with a trait. Of DEEP ones, with colours of 16 bits, Pillow reads the upper 8."""


class Pixels(NamedTuple):
    """The pixels of one image."""

    values: np.ndarray  # (h, w) grey or (h, w, c); uint8, or int64 levels (h, w) to be scaled by `to_8_bits`
    traits: frozenset[str] = frozenset()


def is_grey(image: Image.Image) -> bool:
    """Whether an image has no colours, by its mode."""
    return image.mode in GREY_MODES or image.mode.startswith("I;16")


def _is_wide(image: Image.Image) -> bool:
    """Whether pixels are integers of more than 8 bits. "I" is 32 bits, and 16-bit PNG in some versions of Pillow."""
    return image.mode == "I" or image.mode.startswith("I;16")


def to_array(image: Image.Image, *, white: int = 65535) -> np.ndarray:
    """A Pillow image of any mode as uint8, (h, w) grey or (h, w, 3) RGB; the image is not changed.

    EXIF rotation is applied, transparency is drawn over white, and floats in [0, 1] become 0 to 255.

    Args:
        image: any mode; of several frames the current one is read.
        white: the level of integer pixels (modes I and I;16) that becomes 255. One image does not say it: use
            `white_level` of the largest value of all images.

    Raises:
        ValueError: for pixels without a known range: floats outside [0, 1], integers below 0 or above 65535.
    """
    values = read_pixels(image).values
    return values if values.dtype == np.uint8 else to_8_bits(values, white)


def read_pixels(image: Image.Image, channels: int | None = None) -> Pixels:
    """The pixels of an image, upright, and its traits. Integers of more than 8 bits are not yet scaled.

    Args:
        image: any mode.
        channels: that are asked for; an image that stores two or four keeps so many, see `stored_channels`.

    Raises:
        ValueError: as `to_array`.
    """
    traits = {FRAMES} if _has_more_frames(image) else set()
    if _has_deep_channels(image):  # before the image is loaded
        traits.add(DEEP)
    image = _upright(image)
    stored = stored_channels(image, channels)
    if stored is not None:
        return Pixels(stored, frozenset(traits))
    if image.mode == "F":
        return Pixels(_unit_floats(image), frozenset({*traits, FLOATS}))
    if _is_wide(image):
        return Pixels(_levels(image), frozenset({*traits, OPAQUE} if image.has_transparency_data else traits))
    if image.mode in ALPHA_MODES or (image.mode in KEY_MODES and image.has_transparency_data):
        values, is_transparent = _over_white(image)
        return Pixels(values, frozenset({*traits, TRANSPARENT} if is_transparent else traits))
    return Pixels(np.asarray(image.convert("L" if is_grey(image) else "RGB")), frozenset(traits))


def white_level(largest: int) -> int:
    """The white of integer pixels by the largest value of all images: that of the fewest usual bits which hold it.

    >>> white_level(200), white_level(3900), white_level(4096), white_level(60_000)
    (255, 4095, 16383, 65535)
    """
    return next(2**bits - 1 for bits in BITS if largest < 2**bits)


def to_8_bits(levels: np.ndarray, white: int) -> np.ndarray:
    """Levels from 0 to ``white`` as the nearest of 256."""
    return ((levels.astype(np.int64) * 255 + white // 2) // white).astype(np.uint8)


def remarks_on(traits: Iterable[frozenset[str]]) -> list[str]:
    """A line for every trait to report, with the number of images that have it."""
    counts = Counter(trait for found in traits for trait in found)
    return [f"{counted(counts[trait], 'image')} {text}" for trait, text in REMARKS.items() if counts[trait]]


def _upright(image: Image.Image) -> Image.Image:
    """The image with its EXIF rotation applied."""
    if image.getexif().get(ExifTags.Base.Orientation, 1) == 1:
        return image
    return ImageOps.exif_transpose(image)


def _has_more_frames(image: Image.Image) -> bool:
    try:
        return bool(getattr(image, "is_animated", False)) and image.format not in LAYERED
    except Exception:  # the next frame is damaged, and plug-ins raise what they like; the first may be whole
        return True


def _has_deep_channels(image: Image.Image) -> bool:
    """Whether a file has several channels of 16 bits, of which Pillow reads the upper 8; known until it is loaded."""
    for tile in getattr(image, "tile", ()):
        raw_mode = tile[3][0] if isinstance(tile[3], tuple) and tile[3] else tile[3]
        if isinstance(raw_mode, str) and ";16" in raw_mode and not _is_wide(image):
            return True
    return False


def _levels(image: Image.Image) -> np.ndarray:
    """Integer pixels (h, w).

    Raises:
        ValueError: for values that are not of 16 bits.
    """
    levels = np.asarray(image).astype(np.int64)
    low, high = int(levels.min()), int(levels.max())
    if low < 0 or high > 65535:
        raise ValueError(
            f"its integer pixels go from {low} to {high}, of which black and white are not known; save it with 8 "
            "bits, by one scale for all images"
        )
    return levels


def _unit_floats(image: Image.Image) -> np.ndarray:
    """Float pixels in [0, 1] as uint8.

    Raises:
        ValueError: for values outside, or NaN.
    """
    values = np.asarray(image)
    low, high = float(values.min()), float(values.max())
    if not (low >= 0 and high <= 1):
        raise ValueError(
            f"its pixels are floats from {low:g} to {high:g}, of which black and white are not known; save it with 8 "
            "bits, by one scale for all images, or as floats in [0, 1]"
        )
    return np.rint(values * 255).astype(np.uint8)


def _over_white(image: Image.Image) -> tuple[np.ndarray, bool]:
    """An image drawn over white, and whether any of its pixels is not opaque."""
    both = np.asarray(image.convert("LA" if is_grey(image) else "RGBA")).astype(np.uint16)
    colours, alpha = both[..., :-1], both[..., -1:]
    drawn = ((colours * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return (drawn[..., 0] if drawn.shape[-1] == 1 else drawn), bool((alpha < 255).any())
