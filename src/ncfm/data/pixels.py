"""The pixels of an image in memory, in any usual form, as 8-bit levels.

Numbers alone do not tell which of them is white. Floats are pixels in [0, 1] and integers are levels of 255; everything
else is refused, since a range that is guessed or clamped gives plausible images and wrong accuracies.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ncfm._utils import tensors
from ncfm._utils.checks import InputError, check_finite
from ncfm.data.channels import channels_last, squeezed
from ncfm.data.raw import Encoded, encoded_cell

ROUNDING = 1e-5  # beyond [0, 1]: what the interpolation of float32 pixels leaves
SMALL_EXCESS = 0.05  # beyond [0, 1]: interpolation, noise or optimisation; no normalisation is so near
MOST_NORMALISED = 32  # normalised pixels are smaller, levels of 255 are larger


class PixelReader:
    """Reads the images of one split, and collects what it takes for granted about their pixels.

    Args:
        split: its name for messages.
        channels: that are asked for; they tell the axis of the channels, see `channels_last`.
    """

    def __init__(self, split: str, channels: int | None = None) -> None:
        self._split, self._channels = split, channels
        self._notes: dict[str, None] = {}  # in their order, each once
        self._integers: str | None = None  # the type of integers that are not uint8
        self._highest: int | None = None  # level of all arrays; None before the first

    def __call__(self, image: Any, index: int) -> Encoded:
        """A Pillow image, file contents or path as they are, for `decode_all`; anything else as uint8 pixels.

        Args:
            image: Pillow image; encoded image or its path; or an array, tensor or nested list (h, w), (h, w, c) or
                (c, h, w) of floats in [0, 1], integers from 0 to 255, or bools.
            index: of the image, for messages.

        Raises:
            InputError: for other shapes and types, and for values out of range, with the remedy.
        """
        if isinstance(image, Image.Image):
            return image
        if isinstance(image, (bytes, Path)):
            return image
        if isinstance(image, str):
            return Path(image)
        if isinstance(image, dict):
            return encoded_cell(image, self._split, index)
        where = f"{self._split}: image {index}"
        levels = self._levels(as_array(image, where), where)
        shown = _channels_last(levels, self._channels, where)
        self._highest = max(int(levels.max()), self._highest or 0)
        return shown

    def remarks(self) -> tuple[str, ...]:
        """What was taken for granted about the images read so far.

        Raises:
            InputError: for integers that are all 0 or 1, which may be levels, or black and white.
        """
        nearly_black = self._highest is not None and self._highest <= 1
        if nearly_black and self._integers:
            raise InputError(
                f"{self._split}: expected integers from 0 to 255, got {self._integers} of at most {self._highest}; "
                "multiply by 255 if 1 is white, or convert to uint8 if it is the level 1 of 255."
            )
        black = "no pixel is above level 1 of 255, so that the images are nearly black; scale them if 1 is white"
        return (*self._notes, *([black] if nearly_black else []))

    def _levels(self, pixels: np.ndarray, where: str) -> np.ndarray:
        if pixels.size == 0 or pixels.dtype.kind not in tensors.NUMBERS:
            raise InputError(
                f"{where}: expected pixels, got {tensors.in_words(pixels)}; give uint8, or floats in [0, 1]."
            )
        if pixels.dtype == np.uint8:
            return pixels
        if pixels.dtype.kind == "f":
            return _levels_of_floats(pixels, where)
        if pixels.dtype.kind == "b":
            self._notes["bool pixels are taken as black and white"] = None
            return pixels * np.uint8(255)
        self._integers = str(pixels.dtype)
        self._notes[f"{pixels.dtype} pixels are taken as levels from 0 to 255"] = None
        return _levels_of_integers(pixels, where)


def as_array(value: Any, where: str) -> np.ndarray:
    """An array of an array, tensor (on any device, with or without a gradient), number or nested list.

    Raises:
        InputError: as `ncfm._utils.tensors.as_array`, and for Pillow images, since the numbers may be those of a
            palette.
    """
    if isinstance(value, Image.Image):
        raise InputError(f"{where}: expected arrays, got a Pillow image; give np.asarray(image.convert('RGB')).")
    return tensors.as_array(value, where)


def remedy(low: float, high: float) -> str:
    """How to bring floats of this range into [0, 1].

    >>> remedy(-2.1, 2.6), remedy(0, 255)
    ('undo their normalisation (x * std + mean)', 'divide them by 255')
    """
    if low >= -SMALL_EXCESS and high <= 1 + SMALL_EXCESS:
        return "clamp them to [0, 1] if they are pixels"
    if low < 0:
        return "undo their normalisation (x * std + mean)"
    if high <= MOST_NORMALISED:
        return "undo their normalisation (x * std + mean), or divide them by the level of white"
    return "divide them by 255" if high <= 255 else "divide them by the level of white, such as 65535 of 16 bits"


def check_pixels(images: Tensor, where: str, otherwise: str = "") -> None:
    """Raise InputError for floats that are not finite or outside [0, 1], with the remedy.

    Args:
        images: floats of any shape; integers are not checked.
        where: names them in the message.
        otherwise: another remedy, such as ``", or ..."``.
    """
    if not images.is_floating_point() or images.numel() == 0:
        return
    check_finite(images, where)
    low, high = (float(bound) for bound in images.detach().aminmax())
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(
            f"{where}: expected floats in [0, 1], got {low:.6g} to {high:.6g}; {remedy(low, high)}{otherwise}."
        )


def _levels_of_floats(pixels: np.ndarray, where: str) -> np.ndarray:
    """Floats in [0, 1] as the nearest of 256 levels."""
    low, high = float(pixels.min()), float(pixels.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        number = int((~np.isfinite(pixels)).sum())
        raise InputError(
            f"{where}: expected floats in [0, 1], got {number} of {pixels.size} values that are NaN or infinity; "
            "clean or leave out such images."
        )
    if low < -ROUNDING or high > 1 + ROUNDING:
        raise InputError(f"{where}: expected floats in [0, 1], got {low:.6g} to {high:.6g}; {remedy(low, high)}.")
    wide = pixels.astype(np.float32) if pixels.itemsize < 4 else pixels  # float16 cannot tell all levels
    return np.rint(wide * 255).clip(0, 255).astype(np.uint8)


def _levels_of_integers(pixels: np.ndarray, where: str) -> np.ndarray:
    low, high = int(pixels.min()), int(pixels.max())
    if low < 0 or high > 255:
        raise InputError(
            f"{where}: expected integers from 0 to 255, got {pixels.dtype} from {low} to {high}; divide by the level "
            "of white, such as 65535 of 16 bits, to get floats in [0, 1]."
        )
    return pixels.astype(np.uint8)


def _channels_last(levels: np.ndarray, channels: int | None, where: str) -> np.ndarray:
    """Levels (h, w), (h, w, c) or (c, h, w) as (h, w) if grey, else (h, w, c)."""
    if levels.ndim == 2:
        return levels
    if levels.ndim == 3:
        return squeezed(channels_last(levels, channels, where))
    raise InputError(
        f"{where}: expected the shape (h, w), (h, w, c) or (c, h, w), got {levels.shape}; reshape it, or give Pillow "
        "images."
    )
