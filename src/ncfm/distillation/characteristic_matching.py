"""The objective of the method: characteristic functions at frequencies that a sampler proposes."""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, nn

from ncfm._utils.checks import check_fraction, check_known, check_matrix_pair
from ncfm._utils.types import Features, Frequencies, PerGroup, Phi
from ncfm.discrepancy import characteristic_function, parts_from_phi
from ncfm.discrepancy.frequencies import FrequencySampler
from ncfm.discrepancy.halves import CRITERIA, criterion_from_phi, phi_of_halves, phi_of_whole
from ncfm.distillation.diagnosis import Diagnosis, Spectrum, diagnose, spectrum, unchanged
from ncfm.distillation.objective import ALL, Draw, Measured, NoMemory


class CharacteristicMatching(NoMemory):
    """Neural characteristic function matching: `ncfd` at frequencies that a sampler proposes.

    Args:
        sampler: of the frequencies; it is the adversary if it has parameters.
        amplitude_weight: alpha in [0, 1].
        corrected: correct amplitudes for the sample sizes.
        chunk_size: rows projected at once, see `characteristic_function`.
        gradient_rows: real images of a class from which the adversary's gradient is taken; the discrepancy itself is
            that of all of them. Real batches are drawn in random order, so the gradient has no bias.
        criterion: of `CRITERIA`, what the adversary ascends; the images descend the discrepancy in any case. Only
            "discrepancy" is raised by the noise of a finite batch. The others take two halves of the real batch, and
            project the synthetic features once more, without the gradient.

    Reference:
        Wang et al., CVPR 2025, arXiv 2502.20653.
    """

    couples_classes = False
    has_frequencies = True

    def __init__(
        self,
        sampler: FrequencySampler,
        *,
        amplitude_weight: float = 0.5,
        corrected: bool = False,
        chunk_size: int | None = None,
        gradient_rows: int | None = None,
        criterion: str = "discrepancy",
    ) -> None:
        check_fraction(amplitude_weight, "amplitude_weight")
        self.sampler, self.criterion = sampler, check_known(criterion, CRITERIA, "criterion")
        self.amplitude_weight, self.corrected = amplitude_weight, corrected
        self.chunk_size, self.gradient_rows = chunk_size, gradient_rows
        module = cast("nn.Module", sampler)
        self.adversary = module if any(True for _ in module.parameters()) else None

    def to(self, device: torch.device) -> None:
        """Move the sampler, learned or not."""
        cast("nn.Module", self.sampler).to(device)

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """`ncfd` of every class at the frequencies of one draw, shared by the classes."""
        return self._at(self.sampler.sample(generator), real, synthetic).discrepancy

    def measure(self, real: Features, synthetic: Features, generator: Generator) -> Measured:
        """The same with the gaps of amplitudes and phases, and the criterion if that is not the discrepancy."""
        return self.draw(generator).measure(real, synthetic, ALL)

    def draw(self, generator: Generator) -> Draw:
        """The frequencies of one `measure`, for all parts of the classes."""
        t = self.sampler.sample(generator)
        measure_at = self._at if self.criterion == "discrepancy" or self.adversary is None else self._by_halves
        return Draw(lambda real, synthetic, classes: measure_at(t, real, synthetic), t)

    def _at(self, t: Frequencies, real: Features, synthetic: Features) -> Measured:
        """The discrepancy at frequencies t, with gradients for both players."""
        check_matrix_pair(real, synthetic)
        phi_x = characteristic_function(real, t, chunk_size=self.chunk_size, gradient_rows=self.gradient_rows)
        return self._parts(phi_x, characteristic_function(synthetic, t, chunk_size=self.chunk_size), real, synthetic)

    def _by_halves(self, t: Frequencies, real: Features, synthetic: Features) -> Measured:
        """The criterion, with a gradient for the adversary, and the discrepancy, with one for the images."""
        check_matrix_pair(real, synthetic)
        n = real.shape[-2]
        phi_a, phi_b = phi_of_halves(real, t, chunk_size=self.chunk_size, gradient_rows=self.gradient_rows)
        phi_y = characteristic_function(synthetic.detach(), t, chunk_size=self.chunk_size)
        criterion = criterion_from_phi(self.criterion, phi_a, phi_b, phi_y, n)
        phi_x = _detached(phi_of_whole(phi_a, phi_b, n))
        if synthetic.requires_grad:
            phi_y = characteristic_function(synthetic, t.detach(), chunk_size=self.chunk_size)
        else:
            phi_y = _detached(phi_y)
        return self._parts(phi_x, phi_y, real, synthetic)._replace(criterion=criterion)

    def _parts(self, phi_x: Phi, phi_y: Phi, real: Features, synthetic: Features) -> Measured:
        """`ncfd` and its parts from the characteristic functions."""
        sizes = (real.shape[-2], synthetic.shape[-2]) if self.corrected else None
        return Measured(*parts_from_phi(phi_x, phi_y, amplitude_weight=self.amplitude_weight, sample_sizes=sizes))

    def diagnose(self, real: Features, synthetic: Features, generator: Generator) -> Diagnosis:
        """The discrepancy at the sampler's frequencies and at fixed ones, see `ncfm.distillation.diagnosis`."""
        return diagnose(self.sampler, real, synthetic, generator, amplitude_weight=self.amplitude_weight)

    def spectrum(self, generator: Generator) -> Spectrum:
        """Lengths and directions of the frequencies of one draw."""
        with unchanged(self.sampler):
            return spectrum(self.sampler.sample(generator))


def _detached(phi: Phi) -> Phi:
    """The same values without gradient."""
    return Phi(phi.real.detach(), phi.imag.detach())
