"""Objectives: what a synthetic set is made to match, one class a group.

An objective says how far the synthetic features of every class are from the real ones. A new one is a class with
``discrepancy``, ``adversary`` and ``to``; the tests in ``tests/test_objectives.py`` take every objective listed there
through the same properties.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Generator, nn

from ncfm._checks import check_fraction
from ncfm._typing import Features, PerGroup
from ncfm.discrepancy import mean_gap, ncfd
from ncfm.frequencies import FrequencySampler


class Objective(Protocol):
    """A discrepancy of every class, with the adversary that maximises it, if it has one."""

    adversary: nn.Module | None
    """The player that ascends; None if nothing is learned but the images."""

    def to(self, device: torch.device) -> None:
        """Move whatever it holds to the device of the features."""
        ...

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """Discrepancy (C,) of real (C, n, d) and synthetic (C, m, d) features.

        Gradients reach the synthetic features and the adversary's parameters.
        """
        ...


class CharacteristicMatching:
    """Neural characteristic function matching: `ncfd` at frequencies that a sampler proposes.

    Args:
        sampler: where to look; it is the adversary if it has parameters.
        amplitude_weight: alpha in [0, 1].
        corrected: correct amplitudes for the sample sizes.
        chunk_size: rows projected at once, see `characteristic_function`.
        gradient_rows: real images of a class that the adversary's gradient is taken from; the discrepancy itself is
            that of all of them. Real batches are drawn in random order, so the gradient has no bias.

    Reference:
        Wang et al., CVPR 2025, arXiv 2502.20653.
    """

    def __init__(
        self,
        sampler: FrequencySampler,
        *,
        amplitude_weight: float = 0.5,
        corrected: bool = False,
        chunk_size: int | None = None,
        gradient_rows: int | None = None,
    ) -> None:
        check_fraction(amplitude_weight, "amplitude_weight")
        self.sampler = sampler
        self.amplitude_weight, self.corrected = amplitude_weight, corrected
        self.chunk_size, self.gradient_rows = chunk_size, gradient_rows
        module = cast("nn.Module", sampler)
        self.adversary = module if any(True for _ in module.parameters()) else None

    def to(self, device: torch.device) -> None:
        """Move the sampler, learned or not."""
        cast("nn.Module", self.sampler).to(device)

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """`ncfd` of every class at the frequencies of one draw, shared by the classes."""
        return ncfd(
            real,
            synthetic,
            self.sampler.sample(generator),
            amplitude_weight=self.amplitude_weight,
            corrected=self.corrected,
            chunk_size=self.chunk_size,
            gradient_rows=self.gradient_rows,
        )


class MeanMatching:
    """Distribution matching: squared distance of the class means; nothing adversarial, no randomness.

    Reference:
        Zhao and Bilen, "Dataset Condensation with Distribution Matching", WACV 2023.
    """

    adversary: nn.Module | None = None

    def to(self, device: torch.device) -> None:
        """Nothing to move."""

    def discrepancy(self, real: Features, synthetic: Features, generator: Generator) -> PerGroup:
        """`mean_gap` of every class."""
        return mean_gap(real, synthetic)
