"""The statistics of a training split, and images normalised by them: what networks are shown."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from ncfm._utils.files import ROWS_AT_ONCE, release_pages
from ncfm._utils.types import Images, Statistics, StoredImages, Whitening
from ncfm.data.levels import to_float
from ncfm.data.whitening import whiten


def channel_statistics(images: StoredImages) -> Statistics:
    """Mean and (population) standard deviation per channel in units of [0, 1], in float64.

    Computed from the counts of the 256 levels, which are exact and need no copy of the images in a wider type. A
    constant channel gets the standard deviation 1, so that dividing by it is harmless.
    """
    levels = torch.arange(256, dtype=torch.float64) / 255
    histogram = torch.zeros(images.shape[1], 256, dtype=torch.int64)
    for part in images.split(ROWS_AT_ONCE):
        histogram += torch.stack([torch.bincount(c.flatten(), minlength=256) for c in part.unbind(1)]).cpu()
        release_pages()
    means, stds = [], []
    for counts in histogram.double():
        shares = counts / counts.sum()
        mean = (shares * levels).sum()
        std = (shares * (levels - mean).square()).sum().sqrt()
        means.append(float(mean))
        stds.append(float(std) if std > 1e-6 else 1.0)
    return Statistics(tuple(means), tuple(stds))


def mean_deviation(images: StoredImages) -> tuple[float, ...]:
    """Mean over images (n, c, h, w) of the (sample) standard deviation of a channel's pixels, in [0, 1].

    The published code of this field divides CIFAR-10 by these values, 0.2023, 0.1994 and 0.2010, which are smaller than
    the standard deviation of all pixels by a fifth. A constant channel gets 1.

    Reference:
        VICO-UoE/DatasetCondensation, ``utils.py``, ``get_dataset``; Hansong-Zhang/DANCE and gszfwsb/NCFM, ``STDS``.
    """
    total = torch.zeros(images.shape[1], dtype=torch.float64)
    for part in images.split(ROWS_AT_ONCE):
        total += to_float(part).double().std(dim=(2, 3), correction=1).sum(0).cpu()
        release_pages()
    return tuple(std if std > 1e-6 else 1.0 for std in (total / len(images)).tolist())


def normalize(images: Images, statistics: Statistics) -> Images:
    """Subtract the mean of each channel and divide by its standard deviation; any leading axes before (c, h, w).

    If the statistics have a ZCA map, it is applied afterwards.
    """
    return _normalize(images, *_statistics_on(statistics, images.device, images.dtype))


def normalizer(statistics: Statistics, device: torch.device) -> Callable[[Images], Images]:
    """`normalize` for float32 images on a device, with the statistics already there, as compilers need it."""
    on_device = _statistics_on(statistics, device, torch.float32)
    return lambda images: _normalize(images, *on_device)


def _normalize(images: Images, mean: Tensor, std: Tensor, whitening: Whitening | None) -> Images:
    normalised = (images - mean) / std
    return normalised if whitening is None else whiten(normalised, whitening)


@lru_cache(maxsize=64)
def _statistics_on(
    statistics: Statistics, device: torch.device, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Whitening | None]:
    """Mean and standard deviation (c, 1, 1) and the ZCA map on a device; cached, since a transfer waits for it."""
    mean, std = (torch.tensor(values, device=device, dtype=dtype).view(-1, 1, 1) for values in statistics[:2])
    whitening = statistics.whitening
    return mean, std, whitening if whitening is None else whitening.to(device, dtype)
