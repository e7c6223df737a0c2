"""Learned frequencies: the adversary of the min-max. Every call draws k distinct rows."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.checks import InputError, check_at_least, check_positive
from ncfm._utils.types import Frequencies
from ncfm.discrepancy.frequency_sampler import TINY, normal


class _LearnedFrequencies(nn.Module):
    """Base of the learned samplers: bounds, and a network psi of one hidden layer, ``W_2 gelu(W_1 x + b_1) + b_2``."""

    def __init__(
        self,
        num_features: int,
        num_frequencies: int,
        *,
        scale: float,
        spread: float,
        fixed_bandwidth: bool,
        inputs: int,
        hidden: int,
        last_layer: float,  # size of W_2 at first
        seed_generator: Generator,
    ) -> None:
        super().__init__()
        check_at_least(num_frequencies, 1, "num_frequencies")
        check_positive(scale, "scale")
        if not spread > 1:
            raise InputError(f"spread must be above 1 (1 would fix the scales; use gaussian for that), got {spread}.")
        self.num_features, self.num_frequencies = num_features, num_frequencies
        self.scale, self.spread, self.fixed_bandwidth = scale, spread, fixed_bandwidth
        self.weight_in = nn.Parameter(torch.randn(hidden, inputs, generator=seed_generator) / math.sqrt(inputs))
        self.bias_in = nn.Parameter(torch.zeros(hidden))
        self.weight_out = nn.Parameter(
            last_layer * torch.randn(num_features, hidden, generator=seed_generator) / math.sqrt(hidden)
        )
        self.bias_out = nn.Parameter(torch.zeros(num_features))

    def psi(self, x: Tensor) -> Tensor:
        """The network: (rows, inputs) -> (rows, d)."""
        hidden = torch.nn.functional.gelu(x @ self.weight_in.T + self.bias_in)
        return hidden @ self.weight_out.T + self.bias_out


class ScaleMixtureFrequencies(_LearnedFrequencies):
    r"""Learned scale mixture of normals, t = sigma * z with z ~ N(0, I) and diagonal scales sigma = psi(noise).

    psi is a small network (noise -> hidden -> d) evaluated on fresh noise for each of k / 16 mixture components. Every
    one of the k rows has its own z, so all rows differ. Gradients reach psi through sigma (reparameterisation).

    The scales are bounded, ``scale / spread <= sigma <= scale * spread``: an unbounded adversary moves to high
    frequencies, where a finite sample is nothing but noise. With normalised features the mean modulus \|Phi_x\| is .80
    at scale 1, .40 at 2 and .06 at 4, and from 3 on the gap is the sampling floor 1/n + 1/m.
    With ``fixed_bandwidth`` the scales of a component are then divided by their root mean square over d (relative to
    ``scale``), so that psi chooses directions while the bandwidth stays ``scale``. Two scales of a component still
    differ by at most a factor ``spread**2``.

    Args:
        num_features: width d of the features.
        num_frequencies: k.
        scale: geometric centre of the bounds, and the bandwidth if that is fixed.
        spread: ratio of the bounds to the centre, above 1.
        num_components: scale vectors drawn at each call; default k / 16, as in the paper.
        fixed_bandwidth: see above.
        hidden: width of psi.
        noise_features: length of psi's noise.
        seed_generator: draws psi's initial weights.

    Raises:
        NcfmError: if scale or spread is out of range.

    Reference:
        Wang et al., CVPR 2025, arXiv 2502.20653, section 3.2 (mixture and number of components; the bounds are ours).
    """

    def __init__(
        self,
        num_features: int,
        num_frequencies: int = 1024,
        *,
        scale: float = 1.5,
        spread: float = 3.0,
        num_components: int | None = None,
        fixed_bandwidth: bool = True,
        hidden: int = 128,
        noise_features: int = 64,
        seed_generator: Generator,
    ) -> None:
        super().__init__(
            num_features,
            num_frequencies,
            scale=scale,
            spread=spread,
            fixed_bandwidth=fixed_bandwidth,
            inputs=noise_features,
            hidden=hidden,
            last_layer=0.1,  # psi starts near the fixed Gaussian of the same scale
            seed_generator=seed_generator,
        )
        self.num_components = num_components or max(num_frequencies // 16, 1)
        check_at_least(self.num_components, 1, "num_components")
        self.noise_features = noise_features

    def scales(self, generator: Generator) -> Tensor:
        """Draw the scale vectors sigma of all components, shape (components, d)."""
        noise = normal(self.num_components, self.noise_features, generator, self.weight_in)
        position = torch.tanh(self.psi(noise))  # (components, d) in (-1, 1)
        relative = torch.exp(math.log(self.spread) * position)
        if self.fixed_bandwidth:
            relative = relative / relative.square().mean(-1, keepdim=True).sqrt()
        return self.scale * relative

    def sample(self, generator: Generator) -> Frequencies:
        """Draw t of shape (k, d): row i takes component i mod components and its own z."""
        sigma = self.scales(generator)
        z = normal(self.num_frequencies, self.num_features, generator, self.weight_in)
        # Repeated, not indexed: threads add up the gradient of indexing in any order, so its bits would vary.
        rounds = -(-self.num_frequencies // self.num_components)
        return sigma.repeat(rounds, 1)[: self.num_frequencies] * z


class DirectFrequencies(_LearnedFrequencies):
    r"""Learned frequencies of any distribution: psi emits t itself.

    psi is a small residual network on fresh noise z ~ N(0, I) of width d for each of the k rows,

    .. math:: v = z + W_2 \, \mathrm{gelu}(W_1 z + b_1) + b_2, \qquad t = \mathrm{scale} \cdot \rho(r) \, v / r,
              \qquad r = \|v\| / \sqrt{d}.

    All rows differ (for d > 1), and gradients reach psi through v (reparameterisation). A plain network of this width
    would emit only directions of a ``hidden``-dimensional subspace, and the discrepancy would be blind to the rest. The
    residual form avoids this, and psi starts near the Gaussian of the same scale.

    The lengths are bounded, rho in [1 / spread, spread], for the reason given in `ScaleMixtureFrequencies`: an
    unbounded adversary makes t long, where a finite sample is nothing but noise. With
    rho(r) = exp(L tanh(log(r) / L)), L = log(spread), lengths near ``scale`` are unchanged. With ``fixed_bandwidth``
    rho = 1: every row has the length scale sqrt(d), and psi chooses directions only.

    Args:
        num_features: width d of the features.
        num_frequencies: k.
        scale: centre of the bounds of \|t\| / sqrt(d), and its value if the bandwidth is fixed.
        spread: ratio of the bounds to the centre, above 1.
        fixed_bandwidth: see above.
        hidden: width of psi.
        seed_generator: draws psi's initial weights.

    Raises:
        NcfmError: if scale or spread is out of range.

    Reference:
        Wang et al., CVPR 2025, arXiv 2502.20653, section 3.2 (a network proposes the frequencies; form and bounds are
        ours).
    """

    def __init__(
        self,
        num_features: int,
        num_frequencies: int = 1024,
        *,
        scale: float = 1.5,
        spread: float = 3.0,
        fixed_bandwidth: bool = True,
        hidden: int = 128,
        seed_generator: Generator,
    ) -> None:
        super().__init__(
            num_features,
            num_frequencies,
            scale=scale,
            spread=spread,
            fixed_bandwidth=fixed_bandwidth,
            inputs=num_features,
            hidden=hidden,
            last_layer=0.03,  # psi starts near the identity
            seed_generator=seed_generator,
        )

    def sample(self, generator: Generator) -> Frequencies:
        """Draw t of shape (k, d)."""
        z = normal(self.num_frequencies, self.num_features, generator, self.weight_in)
        v = z + self.psi(z)
        length = (v.square().mean(-1, keepdim=True) + TINY).sqrt()  # (k, 1)
        t = self.scale * v / length
        if self.fixed_bandwidth:
            return t
        reach = math.log(self.spread)
        return t * torch.exp(reach * torch.tanh(length.log() / reach))
