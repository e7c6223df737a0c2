"""Pixels in [0, 1] from the floats that other programs store.

Published sets are stored as pixels, normalised by constants that differ from program to program, or ZCA-whitened. The
numbers alone do not tell which: undoing the wrong constants gives plausible images and wrong accuracies. So nothing is
guessed here but what cannot be wrong: floats in [0, 1] are pixels, small excesses are clamped, and numbers up to 255
are levels. Everything else has to be named.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_finite, nearest
from ncfm._utils.progress import counted
from ncfm._utils.types import Images, Statistics
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.data.whitening import zca

NORMALIZATIONS: dict[str, Statistics] = {
    "cifar10": Statistics((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    "cifar100": Statistics((0.5071, 0.4866, 0.4409), (0.2673, 0.2564, 0.2762)),
    "svhn": Statistics((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    "imagenet": Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mnist": Statistics((0.1307,), (0.3081,)),
    "fashion-mnist": Statistics((0.2861,), (0.3530,)),
    "half": Statistics((0.5,), (0.5,)),
}
"""Mean and standard deviation per channel (one number: of all channels), as DC, DSA, DM, MTT and their successors
normalise: github.com/VICO-UoE/DatasetCondensation, utils.py."""

SMALL_EXCESS = 0.05  # beyond [0, 1]: optimised pixels that were not clamped, or rounding; no normalisation is so near
KEYWORDS = ("data", "zca", "none")


class Pixels(NamedTuple):
    """Images of another program as pixels."""

    images: Images  # (n, c, h, w) floats; in [0, 1], except for what the other program left outside
    note: str  # what was done; empty if nothing
    shown: Statistics | None = None  # how networks are shown them; None: as the real data are


def to_pixels(images: Tensor, real: ImageSet, *, normalized_by: str | None = None, where: str) -> Pixels:
    """Pixels of stored images.

    Without ``normalized_by`` uint8 images and floats in [0, 1] are taken as they are. Floats at most `SMALL_EXCESS`
    outside are clamped. Floats from 0 to above 32 and at most 255 are divided by 255.

    With it the normalisation is undone exactly, x = z * std + mean. Values outside [0, 1] are kept, since networks have
    been shown them in the other program.

    Args:
        images: (n, c, h, w) uint8 or floats.
        real: the real data.
        normalized_by: a name of `NORMALIZATIONS`; "data": mean and standard deviation of the real training split;
            "zca": whitened by the map of the training split with epsilon 0.1 (as MTT does, on pixels in [0, 1] without
            normalisation), through which networks are then shown all images; "none": pixels, also outside [0, 1]; or
            numbers, "MEAN,STD" or all means, then all standard deviations.
        where: names the images in messages.

    Raises:
        InputError: for floats whose normalisation has to be named, an unknown name, or values that are not finite.

    >>> from ncfm import load_images
    >>> to_pixels(torch.tensor([-0.01, 0.5]).expand(1, 1, 1, 2), load_images("digits"), where="Mine").note
    'Mine: 50 % of the values lie outside [0, 1] by at most 0.01; they are clamped.'
    """
    if images.dtype == torch.uint8:
        if normalized_by not in (None, "none"):
            raise InputError(f"{where}: uint8 images are pixels; leave out normalized_by={normalized_by}.")
        return Pixels(to_float(images), "")
    if not images.is_floating_point():
        raise InputError(
            f"{where}: expected images as uint8 or floats, got {images.dtype}; save levels from 0 to 255 as uint8."
        )
    images = images.float()
    check_finite(images, f"{where}: the array of images")
    if normalized_by is None:
        return _unnamed(images, real, where)
    if normalized_by == "zca":
        return _dewhitened(images, real, where)
    statistics = _statistics(normalized_by, real, where)
    if statistics is None:
        return Pixels(images, _outside(images, f"{where}: taken as pixels"))
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in statistics[:2])
    pixels = images * std + mean
    return Pixels(pixels, _outside(pixels, f"{where}: the normalisation of {normalized_by} is undone"))


def _unnamed(images: Tensor, real: ImageSet, where: str) -> Pixels:
    """What needs no name: pixels, pixels with small excesses, levels up to 255."""
    low, high = float(images.min()), float(images.max())
    if low >= 0 and high <= 1:
        return Pixels(images, "")
    if low >= -SMALL_EXCESS and high <= 1 + SMALL_EXCESS:
        share = float(((images < 0) | (images > 1)).double().mean())
        note = (
            f"{where}: {100 * share:.2g} % of the values lie outside [0, 1] by at most {max(-low, high - 1):.2g}; "
            "they are clamped."
        )
        return Pixels(images.clamp(0, 1), note)
    if low >= 0 and 32 < high <= 255:
        return Pixels(images / 255, f"{where}: values up to {high:.0f} are taken as levels of 255.")
    fitting = [name for name, known in NORMALIZATIONS.items() if len(known.mean) in (1, real.channels)]
    raise InputError(
        f"{where}: expected floats in [0, 1], got {low:.3g} to {high:.3g}. Name their normalisation: --normalized-by "
        f"{', '.join(fitting)}, data (mean and standard deviation of {real.name}), zca, MEAN,STD; or none if they are "
        "pixels."
    )


def _statistics(name: str, real: ImageSet, where: str) -> Statistics | None:
    """Mean and standard deviation per channel, by name or numbers; None for "none"."""
    if name == "none":
        return None
    if name == "data":
        return real.statistics._replace(whitening=None)
    if name in NORMALIZATIONS:
        found = NORMALIZATIONS[name]
    else:
        try:
            numbers = [float(part) for part in name.split(",")]
        except ValueError:
            known = [*NORMALIZATIONS, *KEYWORDS]
            raise InputError(
                f"Unknown normalisation {name!r}.{nearest(name, known)} Known: {', '.join(known)}; or MEAN,STD."
            ) from None
        means, stds = numbers[: len(numbers) // 2], numbers[len(numbers) // 2 :]
        valid = all(map(math.isfinite, numbers)) and all(std > 0 for std in stds)
        if not valid or len(means) != len(stds) or len(means) not in (1, real.channels):
            raise InputError(
                f"{where}: expected a mean and a standard deviation above 0, or {real.channels} of each, got {name}."
            )
        found = Statistics(tuple(means), tuple(stds))
    if len(found.mean) not in (1, real.channels):
        raise InputError(f"{where}: {name} has {counted(len(found.mean), 'channel')}, {real.name} has {real.channels}.")
    return found


def _dewhitened(images: Tensor, real: ImageSet, where: str) -> Pixels:
    """Undo the published ZCA map, and keep it for what networks are shown."""
    plain = Statistics((0.0,) * real.channels, (1.0,) * real.channels)
    shown = plain._replace(whitening=zca(real.train.images, plain))
    whitening = shown.whitening
    assert whitening is not None
    flat = torch.linalg.solve(whitening.matrix.double(), images.flatten(1).double().T).T + whitening.mean.double()
    pixels = flat.view(images.shape).float()
    back = float((normalize(pixels, shown) - images).abs().max())
    note = f"{where}: the ZCA map of {real.name} is undone (error {back:.1g}), and networks are shown whitened images"
    return Pixels(pixels, _outside(pixels, note), shown)


def _outside(pixels: Tensor, note: str) -> str:
    """A note with the share of values outside [0, 1]."""
    share = float(((pixels < -1e-6) | (pixels > 1 + 1e-6)).double().mean())
    if share == 0:
        return f"{note}."
    low, high = float(pixels.min()), float(pixels.max())
    return f"{note}; {100 * share:.2g} % of the values lie outside [0, 1], from {low:.2f} to {high:.2f}, and are kept."
