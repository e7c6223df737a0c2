"""Images of any size and shape as square ones: cropped, padded or stretched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np
from PIL import Image, ImageOps

from ncfm._utils.checks import check_known
from ncfm._utils.progress import counted
from ncfm.data.channels import GREY, RGB, squeezed, with_channels

Fit = Literal["crop", "pad", "stretch"]
FITS: tuple[str, ...] = get_args(Fit)
LARGEST_SIDE = 1024  # pixels of an image: a network's first layer takes half a GiB for one, at 4096 px 16 times that
BACKGROUND = 0  # black: what pad adds

_BICUBIC = Image.Resampling.BICUBIC
_RESIZE: dict[str, Callable[[Image.Image, tuple[int, int]], Image.Image]] = {
    "crop": lambda image, size: ImageOps.fit(image, size, method=_BICUBIC),
    "pad": lambda image, size: ImageOps.pad(image, size, method=_BICUBIC, color=(BACKGROUND,) * len(image.getbands())),
    "stretch": lambda image, size: image.resize(size, _BICUBIC),
}


class Fitter:
    """Square images (s, s, c) of decoded ones, and a count of those that were cropped for it.

    Args:
        size: side s in pixels.
        channels: c; see `ncfm.data.channels.with_channels`.
        fit: "crop" - the short side becomes s, and the centre is cut out; "pad" - the long side becomes s, and black
            bars are added to the short one; "stretch" - both sides become s. Always bicubic.

    Raises:
        InputError: for another fit.
    """

    def __init__(self, size: int, channels: int, fit: str = "crop") -> None:
        self.size, self.channels, self.fit = size, channels, check_known(fit, FITS, "data.fit")
        self._lost: list[int] = []  # percent of the area of each cropped image, rounded up; appended by threads

    def __call__(self, pixels: np.ndarray, place: str) -> np.ndarray:
        """The image (s, s, c) of pixels (h, w) or (h, w, c).

        Raises:
            InputError: if it cannot have the channels; the image is called ``place`` then.
        """
        h, w = pixels.shape[:2]
        converted = with_channels(pixels, self.channels, place)
        if h != w and self.fit == "crop":
            self._lost.append(-(-100 * abs(h - w) // max(h, w)))
        return converted if h == w == self.size else self._resized(converted)

    def remarks(self) -> tuple[str, ...]:
        """How many images were cropped, and how much of an area was lost at most."""
        if not self._lost:
            return ()
        return (
            f"{counted(len(self._lost), 'image')} not square, cropped to the centre (up to {max(self._lost)} % of the "
            "area lost; data.fit=pad or stretch keeps all of it)",
        )

    def _resized(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels (h, w, c) as (s, s, c). Pillow knows grey and RGB; other channels are resized one by one."""
        whole = self.channels in (GREY, RGB)
        planes = [squeezed(pixels)] if whole else [pixels[..., i] for i in range(self.channels)]
        size = (self.size, self.size)
        resized = [np.asarray(_RESIZE[self.fit](Image.fromarray(plane), size)) for plane in planes]
        return np.dstack(resized)
