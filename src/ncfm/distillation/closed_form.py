"""Objectives whose adversary is solved in closed form, for the features of the iteration: nothing is trained.

A learned sampler is one adversary for all extractors, and these are redrawn in every iteration. The two here are
computed from the features of the extractor that was drawn.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, nn

from ncfm._utils.checks import InputError, check_at_least, check_matrix_pair, check_positive
from ncfm._utils.types import Features, PerGroup, Phi
from ncfm.discrepancy.characteristic import characteristic_function
from ncfm.discrepancy.entropic import entropic_weights, structured_frequencies
from ncfm.discrepancy.fisher import fisher_gap
from ncfm.discrepancy.frequencies import FrequencySampler
from ncfm.discrepancy.halves import halves_gap, noise_variance, phi_of_halves
from ncfm.distillation.objective import PlainObjective


class _FixedFrequencies(PlainObjective):
    """An objective at the frequencies of a sampler without parameters, and at what all classes have in common."""

    couples_classes = True

    def __init__(self, sampler: FrequencySampler) -> None:
        module = cast("nn.Module", sampler)
        if any(True for _ in module.parameters()):
            raise InputError(
                "An adversary in closed form takes fixed frequencies; choose --set frequencies.family=gaussian."
            )
        self.frequencies = sampler

    def to(self, device: torch.device) -> None:
        """Move the sampler."""
        cast("nn.Module", self.frequencies).to(device)


class FisherMatching(_FixedFrequencies):
    """The best linear test between real and synthetic images on random features, see `fisher_gap`.

    Args:
        sampler: of the frequencies, without parameters. The cost grows with the cube of their number: 256 to 512.
        shrinkage: rho above 0; large values give the squared gap of characteristic functions.
    """

    def __init__(self, sampler: FrequencySampler, *, shrinkage: float = 1.0) -> None:
        super().__init__(sampler)
        check_positive(shrinkage, "shrinkage")
        self.shrinkage = shrinkage

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """`fisher_gap` of every class at the frequencies of one draw."""
        return fisher_gap(real, synthetic, self.frequencies.sample(generator), shrinkage=self.shrinkage)


class EntropicMatching(_FixedFrequencies):
    r"""Squared gaps of characteristic functions, weighted by how well a frequency tells the class apart from noise.

    .. math:: \sum_j q_j |\Phi_x - \Phi_y|^2 (t_j), \qquad q_j \propto \exp(g_j / (\tau (s_j^2 + \epsilon)))

    The bank of frequencies has those of the sampler and `structured_frequencies` of the real features. The gap g is
    that of two halves of the real batch (`halves_gap`), which noise does not raise. q has no gradient, and differs
    between classes.

    Args:
        sampler: of the random frequencies, without parameters.
        weight_temperature: tau above 0; large values weight all frequencies equally.
        num_directions: structured frequencies at most.
    """

    def __init__(
        self, sampler: FrequencySampler, *, weight_temperature: float = 10.0, num_directions: int = 64
    ) -> None:
        super().__init__(sampler)
        check_positive(weight_temperature, "weight_temperature")
        check_at_least(num_directions, 0, "num_directions")
        self.weight_temperature, self.num_directions = weight_temperature, num_directions

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """The weighted gap of every class. Real batches come in random order, so that halves are independent."""
        check_matrix_pair(real, synthetic)
        n = real.shape[-2]
        check_at_least(n, 2, "real_batch_per_class")
        with torch.no_grad():
            own = structured_frequencies(real, self.num_directions)
            t = torch.cat([self.frequencies.sample(generator), own])
            phi_a, phi_b = phi_of_halves(real, t)
            share = (n + 1) // 2 / n  # of the first half
            phi_x = Phi(*(share * a + (1 - share) * b for a, b in zip(phi_a, phi_b, strict=True)))
        phi_y = characteristic_function(synthetic, t)
        square = (phi_x.real - phi_y.real).square() + (phi_x.imag - phi_y.imag).square()
        weights = entropic_weights(halves_gap(phi_a, phi_b, phi_y), noise_variance(phi_x, n), self.weight_temperature)
        return (weights * square).sum(-1)
