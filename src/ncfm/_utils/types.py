"""Names of tensor shapes, and small records, that all modules share.

The letters are the same everywhere: **n** real images of a class, **m** synthetic ones (after decoding), **d** feature
width, **k** frequencies, **C** classes, **c h w** image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float, Int64, UInt8

    Images: TypeAlias = Float[Tensor, "n c h w"]
    """Images in [0, 1] (or normalised, where the name says so)."""

    StoredImages: TypeAlias = UInt8[Tensor, "n c h w"]
    """Images as they are stored: 8-bit, a quarter of the memory."""

    GroupedImages: TypeAlias = Float[Tensor, "G n c h w"]
    """Images in G groups of n; a group shares one random draw, such as an augmentation."""

    Labels: TypeAlias = Int64[Tensor, " n"]
    """Class indices 0 .. C-1."""

    Features: TypeAlias = Float[Tensor, "*groups n d"]
    """Feature vectors; leading axes are groups."""

    Frequencies: TypeAlias = Float[Tensor, "k d"]
    """The arguments t of a characteristic function, one per row."""

    PerFrequency: TypeAlias = Float[Tensor, "*groups k"]
    """One number per frequency (and group)."""

    PerGroup: TypeAlias = Float[Tensor, "*groups"]
    """One number per group, such as a discrepancy per class."""
else:  # for readers and type checkers only: a set loads without jaxtyping
    Images = StoredImages = GroupedImages = Labels = Features = Frequencies = PerFrequency = PerGroup = Tensor


class Phi(NamedTuple):
    """Values of a characteristic function at k frequencies, as two real tensors.

    Not one complex tensor: compilers and accelerators handle real ones everywhere.
    """

    real: Tensor  # (..., k) mean of cos <t, x>
    imag: Tensor  # (..., k) mean of sin <t, x>


class LabelledImages(NamedTuple):
    """Images with their classes; the form of every set in an evaluation."""

    images: Tensor  # (n, c, h, w) float in [0, 1]
    labels: Tensor  # (n,) int64, 0 .. C-1


@dataclass(frozen=True, eq=False)
class Whitening:
    """A ZCA map, see `ncfm.data.whitening`."""

    mean: Tensor  # (d,), d = c h w
    matrix: Tensor  # (d, d), symmetric

    def to(self, device: torch.device, dtype: torch.dtype) -> Whitening:
        """The same map on a device."""
        return Whitening(self.mean.to(device, dtype), self.matrix.to(device, dtype))


class Statistics(NamedTuple):
    """Statistics of the training split: per channel, for pixels in [0, 1], and the ZCA map if there is one."""

    mean: tuple[float, ...]  # (c,)
    std: tuple[float, ...]  # (c,)
    whitening: Whitening | None = None


class Interval(NamedTuple):
    """A mean over runs with its uncertainty."""

    mean: float
    std: float  # sample standard deviation (n - 1); 0 for one run
    low: float  # lower end of the two-sided 95 % t interval
    high: float  # upper end
