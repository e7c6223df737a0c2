"""Samplers of the frequencies at which characteristic functions are compared, by name.

`ScaleMixtureFrequencies` and `DirectFrequencies` are learned: they are the adversary of the min-max.
`GaussianFrequencies` and `StudentTFrequencies` are fixed distributions.

A new sampler is a class with the members of `FrequencySampler` and a line in a table; the user's own is named
``module:callable`` instead.
"""

from __future__ import annotations

from collections.abc import Callable

from ncfm.discrepancy.fixed_frequencies import GaussianFrequencies, StudentTFrequencies
from ncfm.discrepancy.frequency_sampler import FrequencySampler, check_sampler
from ncfm.discrepancy.learned_frequencies import DirectFrequencies, ScaleMixtureFrequencies

__all__ = [
    "FIXED_SAMPLERS",
    "LEARNED_SAMPLERS",
    "SAMPLERS",
    "DirectFrequencies",
    "FrequencySampler",
    "GaussianFrequencies",
    "ScaleMixtureFrequencies",
    "StudentTFrequencies",
    "check_sampler",
]

FIXED_SAMPLERS: dict[str, Callable[..., FrequencySampler]] = {
    "gaussian": GaussianFrequencies,
    "student": StudentTFrequencies,
}
"""Samplers without parameters, by name."""

LEARNED_SAMPLERS: dict[str, Callable[..., FrequencySampler]] = {
    "mixture": ScaleMixtureFrequencies,
    "direct": DirectFrequencies,
}
"""Samplers that are an adversary, by name; all take a ``seed_generator``."""

SAMPLERS: dict[str, Callable[..., FrequencySampler]] = {**FIXED_SAMPLERS, **LEARNED_SAMPLERS}
"""All samplers by name.

A sampler is built with those of these keyword arguments that it names: num_features, num_frequencies, scale, spread,
fixed_bandwidth, degrees_of_freedom, seed_generator.
"""
