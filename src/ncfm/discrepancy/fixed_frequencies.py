"""Frequencies of fixed distributions: normal, and with heavy tails. Every call draws k distinct rows."""

from __future__ import annotations

import torch
from torch import Generator, nn

from ncfm._utils.checks import check_at_least, check_positive
from ncfm._utils.types import Frequencies
from ncfm.discrepancy.frequency_sampler import TINY, normal


class GaussianFrequencies(nn.Module):
    """Fixed Gaussian frequencies, t = scale * z with z ~ N(0, I).

    With a root inside the mean this is a random-feature MMD of bandwidth 1 / scale.

    Args:
        num_features: width d of the features.
        num_frequencies: k.
        scale: standard deviation of every component. For features of norm 1 the projection <t, x> has the same
            standard deviation over t; see `ScaleMixtureFrequencies` for where the information is.
    """

    def __init__(self, num_features: int, num_frequencies: int = 1024, *, scale: float = 1.5) -> None:
        super().__init__()
        check_at_least(num_frequencies, 1, "num_frequencies")
        check_positive(scale, "scale")
        self.num_features, self.num_frequencies, self.scale = num_features, num_frequencies, scale
        self.register_buffer("_device", torch.empty(0), persistent=False)

    def sample(self, generator: Generator) -> Frequencies:
        """Draw t of shape (k, d)."""
        return self.scale * normal(self.num_frequencies, self.num_features, generator, self._buffers["_device"])


class StudentTFrequencies(nn.Module):
    r"""Fixed frequencies with heavy tails, t = scale * z / sqrt(chi^2_nu / nu) with z ~ N(0, I).

    A multivariate Student t: every row has its own chi^2 of nu degrees of freedom, so that a draw holds rows of many
    bandwidths. It is a scale mixture of normals whose mixture is fixed. The variance of a component is
    scale^2 nu / (nu - 2), infinite for nu = 1 and 2; towards large nu the rows become those of `GaussianFrequencies`.
    The kernel behind it, E exp(j <t, u>), is the Matern kernel of smoothness nu / 2: exp(-scale \|u\|) for nu = 1.

    Args:
        num_features: width d of the features.
        num_frequencies: k.
        scale: of the normal; at nu = 3 and large d the median row has a root mean square of 1.13 scale.
        degrees_of_freedom: nu, a whole number from 1 (Cauchy).
    """

    def __init__(
        self,
        num_features: int,
        num_frequencies: int = 1024,
        *,
        scale: float = 1.5,
        degrees_of_freedom: int = 3,
    ) -> None:
        super().__init__()
        check_at_least(num_frequencies, 1, "num_frequencies")
        check_positive(scale, "scale")
        check_at_least(degrees_of_freedom, 1, "degrees_of_freedom")
        self.num_features, self.num_frequencies, self.scale = num_features, num_frequencies, scale
        self.degrees_of_freedom = degrees_of_freedom
        self.register_buffer("_device", torch.empty(0), persistent=False)

    def sample(self, generator: Generator) -> Frequencies:
        """Draw t of shape (k, d)."""
        like = self._buffers["_device"]
        z = normal(self.num_frequencies, self.num_features, generator, like)
        # A chi^2 of whole degrees is a sum of squares: torch's chi^2 takes no generator.
        normals = normal(self.num_frequencies, self.degrees_of_freedom, generator, like)  # (k, nu)
        chi_square = normals.square().sum(-1, keepdim=True)
        # A draw of exactly 0 happens once in some 10 million with nu = 1; an infinite frequency would be NaN.
        return self.scale * z / (chi_square / self.degrees_of_freedom).clamp(min=TINY).sqrt()
