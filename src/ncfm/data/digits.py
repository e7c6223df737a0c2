"""The handwritten digits that come with scikit-learn: nothing to download."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm.data.assembly import Request
from ncfm.data.image_set import ImageSet, ImageSplit


def read_digits(request: Request) -> ImageSet | None:
    """The source ``digits``.

    Raises:
        NcfmError: if another size or colour images are wanted.
    """
    if request.name != "digits":
        return None
    size, channels = request.wanted.image_size, request.wanted.channels
    if size not in (None, 8) or channels not in (None, 1):
        raise InputError(f"digits are grey images of 8 px; got image_size {size}, channels {channels}.")
    return load_digits_set()


def load_digits_set(test_fraction: float = 0.25) -> ImageSet:
    """1,797 handwritten digits: grey images of 8 x 8 pixels with 17 levels, 10 classes.

    They come without a split. Every fourth image of a class, beginning with its first, is a test image: the split is
    stratified and the same everywhere.

    Reference:
        Alpaydin and Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """
    levels, labels = _levels_and_labels()
    images = levels.mul(255 / 16).round().to(torch.uint8)[:, None]
    period = round(1 / test_fraction)
    is_test = torch.zeros(len(labels), dtype=torch.bool)
    for c in range(10):
        is_test[(labels == c).nonzero().flatten()[::period]] = True
    train, test = (ImageSplit.of(images[m], labels[m], 10) for m in (~is_test, is_test))
    return ImageSet("digits", train, test, tuple(str(c) for c in range(10)))


@functools.cache
def _levels_and_labels() -> tuple[Tensor, Tensor]:
    """The file, a compressed text, parsed once in a process: levels from 0 to 16, (n, 8, 8), and labels, (n,)."""
    from sklearn.datasets import load_digits  # slow to import, and only digits need it

    bunch = load_digits()
    return torch.from_numpy(bunch.images), torch.from_numpy(bunch.target).long()
