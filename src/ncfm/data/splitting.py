"""Parts of a split that are held out: at random for tuning, by content for testing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Generator, Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm._utils.types import StoredImages
from ncfm.data.digests import image_digests
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.store import take

KEY = b"ncfm test split"  # never changed: it decides which images are test images


def carve_validation(split: ImageSplit, fraction: float, generator: Generator) -> tuple[ImageSplit, ImageSplit]:
    """Split off a random stratified part of a split, for tuning.

    Every class with at least two images contributes ``round(fraction * count)`` of them, at least one and never all.

    Returns:
        The rest, and the held-out part.

    Raises:
        NcfmError: if the fraction is not in (0, 1), or no class has two images that differ.
    """
    _check_fraction(fraction)
    held = torch.zeros(len(split), dtype=torch.bool)
    for count, offset in zip(split.counts.tolist(), split.offsets.tolist(), strict=True):
        if count > 1:
            number = min(max(round(fraction * count), 1), count - 1)
            held[offset + torch.randperm(count, generator=generator)[:number]] = True
    return _parts(split, held)


def with_test_split(images: ImageSet, fraction: float) -> ImageSet:
    """The dataset with a part of its training split as test split, for data that come without one.

    The pixels of an image decide whether it is held out, see `carve_by_content`: no run is trained on an image that
    another run is tested on, although images were added or removed in between. The split is reported in ``problems``.

    Raises:
        NcfmError: if the fraction is not in (0, 1), or no class has two images that differ.
    """
    train, test = carve_by_content(images.train, fraction)
    note = (
        f"no test split: {len(test)} of {len(images.train)} images (about {fraction:.0%} of every class, chosen by "
        "their pixels) were set aside as one"
    )
    return replace(images, train=train, test=test, problems=(*images.problems, note))


def carve_by_content(split: ImageSplit, fraction: float) -> tuple[ImageSplit, ImageSplit]:
    """Split off the images whose pixels have a hash below ``fraction`` of the range of hashes.

    Other images do not matter: an added image joins one of the parts and moves none. Copies of an image have the same
    hash, and are in the same part. The hashes of different images are as independent uniform numbers, so that a class
    of n images contributes ``fraction * n`` on average, with the standard deviation of a binomial distribution.

    Small classes are an exception. A class of at least two different images contributes at least one, and never all: if
    its hashes are all above the limit the lowest one, if all are below it all but the highest one. Only these images
    can move when the class grows or shrinks, and only they can be on another side than a copy in another class.

    Returns:
        The rest, and the held-out part.

    Raises:
        NcfmError: if the fraction is not in (0, 1), or no class has two images that differ.
    """
    _check_fraction(fraction)
    hashes = _hashes(split.images)
    held = torch.zeros(len(split), dtype=torch.bool)
    for count, offset in zip(split.counts.tolist(), split.offsets.tolist(), strict=True):
        of_class = slice(offset, offset + count)
        if count:
            held[of_class] = _held(hashes[of_class], fraction)
    return _parts(split, held)


def _held(hashes: Tensor, fraction: float) -> Tensor:
    """Which images of a class are held out, by their hashes (n,) in [0, 1]."""
    lowest, highest = hashes.min(), hashes.max()
    if lowest == highest:  # one image, or copies of one
        return torch.zeros(len(hashes), dtype=torch.bool)
    if lowest >= fraction:
        return hashes == lowest
    if highest < fraction:
        return hashes < highest
    return hashes < fraction


def _hashes(images: StoredImages) -> Tensor:
    """A hash of the pixels of each image, as numbers (n,) in [0, 1]."""
    first_bytes = b"".join(digest[:8] for digest in image_digests(images, KEY))
    return torch.from_numpy(np.frombuffer(first_bytes, dtype=">u8") / 2.0**64)


def _parts(split: ImageSplit, held: Tensor) -> tuple[ImageSplit, ImageSplit]:
    """The images that are not held out, and those that are.

    Raises:
        InputError: if none is.
    """
    if not bool(held.any()):
        raise InputError(
            f"Expected a class of two different images, of which one can be held out to test on; got "
            f"{counted(len(split), 'image')} of {counted(len(split.counts), 'class')}. Add images, or a test split."
        )
    rest, part = (
        ImageSplit.of(take(split.images, at), split.labels[at], len(split.counts))
        for at in ((~held).nonzero().flatten(), held.nonzero().flatten())
    )
    return rest, part


def _check_fraction(fraction: float) -> None:
    if not 0 < fraction < 1:
        raise InputError(f"The held-out fraction must lie in (0, 1), got {fraction}.")
