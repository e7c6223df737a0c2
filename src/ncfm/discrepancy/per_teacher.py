"""Samplers that are conditioned on the feature extractor, and one learned sampler for each teacher.

The extractor is drawn again in every iteration, and frequencies that tell samples apart under one teacher are worth
little under another: the channels of independently trained networks can be exchanged. A sampler with the method
`ConditionedSampler.condition` is given the extractor before it is sampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast, runtime_checkable

from torch import Generator, nn

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.types import Frequencies
from ncfm.discrepancy.frequencies import FrequencySampler


@runtime_checkable
class ConditionedSampler(FrequencySampler, Protocol):
    """A sampler whose frequencies depend on the extractor of the iteration."""

    def condition(self, teacher: int, blend: float) -> None:
        """Sample for this extractor from now on.

        Parameters that it does not use are to have ``requires_grad=False`` until they are used again: the adversary's
        optimizer then leaves them and their moments as they are.

        Args:
            teacher: its number in the pool.
            blend: share of its initial weights, in [0, 1].
        """
        ...


class PerTeacherFrequencies(nn.Module):
    """One learned sampler for each teacher; a teacher and its blends have the same.

    Only the sampler in use requires gradients, so that an optimizer of all parameters steps those of one sampler. The
    others keep weights and moments, which Adam would change even with gradients of 0. Time per draw is that of one
    sampler, memory grows with the number of teachers.

    Args:
        samplers: of one family, in the order of the teachers, with no parameter in common.

    Raises:
        NcfmError: if there is none, or two have a parameter in common.
    """

    def __init__(self, samplers: Sequence[FrequencySampler]) -> None:
        super().__init__()
        check_at_least(len(samplers), 1, "number of samplers")
        self.samplers = nn.ModuleList(cast("Sequence[nn.Module]", samplers))
        self.num_features, self.num_frequencies = samplers[0].num_features, samplers[0].num_frequencies
        self._learned = [[p for p in module.parameters() if p.requires_grad] for module in self.samplers]
        if len({id(p) for own in self._learned for p in own}) < sum(map(len, self._learned)):
            raise InputError("Samplers of several teachers have parameters in common; make a new sampler at each call.")
        self.condition(0, 0.0)

    def condition(self, teacher: int, blend: float) -> None:
        """Sample by the sampler of this teacher, whatever the blend.

        Raises:
            NcfmError: for a teacher without sampler.
        """
        if not 0 <= teacher < len(self.samplers):
            raise InputError(
                f"Expected a teacher of 0..{len(self.samplers) - 1}, which have a sampler each, got {teacher}; "
                "build as many samplers as there are teachers."
            )
        self.teacher = teacher
        for index, parameters in enumerate(self._learned):
            for parameter in parameters:
                parameter.requires_grad_(index == teacher)

    def sample(self, generator: Generator) -> Frequencies:
        """Draw t of shape (k, d); gradients reach the parameters of the teacher's sampler."""
        return cast("FrequencySampler", self.samplers[self.teacher]).sample(generator)


def conditioned_samplers(adversary: nn.Module | None) -> list[ConditionedSampler]:
    """The conditioned samplers that an adversary is or contains."""
    modules = [] if adversary is None else list(adversary.modules())
    return [module for module in modules if isinstance(module, ConditionedSampler)]
