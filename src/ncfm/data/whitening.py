"""ZCA whitening: decorrelated pixels that stay as close to the original image as possible."""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.files import ROWS_AT_ONCE, release_pages
from ncfm._utils.types import Statistics, StoredImages, Whitening

EPSILON = 0.1
"""Added to the variances, in units of a channel's variance: directions with little variance are not amplified."""

LARGEST = 4096  # values per image: the map is a square matrix of this size


def zca(images: StoredImages, statistics: Statistics) -> Whitening:
    r"""The whitening map of a training split with normalised channels.

    With the mean image :math:`\bar x` and the covariance :math:`U \Lambda U^T` of the d values of an image,

    .. math:: x \mapsto U (\Lambda + \epsilon)^{-1/2} U^T (x - \bar x)

    Args:
        images: (n, c, h, w) uint8.
        statistics: mean and standard deviation of the channels.

    Returns:
        The mean (d,) and the symmetric matrix (d, d), d = c h w, float32.

    Raises:
        NcfmError: for images of more than `LARGEST` values.

    Reference:
        Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009 (appendix A); the epsilon of
        Goodfellow et al., "Maxout Networks", ICML 2013.
    """
    n, d = len(images), images[0].numel()
    if d > LARGEST:
        raise InputError(
            f"ZCA of images with {d} values needs a matrix of {d} x {d}; expected at most {LARGEST} values "
            "(36 px in colour): choose a smaller data.image_size, or data.zca=false."
        )
    mean_, std = (torch.tensor(values).view(-1, 1, 1) for values in statistics[:2])
    total, products = torch.zeros(d, dtype=torch.float64), torch.zeros(d, d, dtype=torch.float64)
    for part in images.split(ROWS_AT_ONCE):
        x = ((part.cpu().float() / 255 - mean_) / std).flatten(1)
        total += x.sum(0, dtype=torch.float64)
        products += (x.T @ x).double()
        release_pages()
    mean = total / n
    variances, directions = torch.linalg.eigh(products / n - torch.outer(mean, mean))
    # Rounding may leave a variance just below 0.
    matrix = (directions / (variances.clamp(min=0) + EPSILON).sqrt()) @ directions.T
    return Whitening(mean.float(), matrix.float())


def whiten(normalised: Tensor, whitening: Whitening) -> Tensor:
    """Apply the map to images (..., c, h, w) whose channels are normalised."""
    mean, matrix = (t.to(normalised.device, normalised.dtype) for t in (whitening.mean, whitening.matrix))
    return ((normalised.flatten(-3) - mean) @ matrix).view(normalised.shape)  # the matrix is symmetric
