"""The frequencies that a caller asks for: those of a family by its name, of a sampler, or of a tensor."""

from __future__ import annotations

from torch import Tensor, nn

from ncfm._utils.checks import InputError, check_known
from ncfm._utils.seeding import generator as named_generator
from ncfm._utils.types import Frequencies
from ncfm.discrepancy.frequencies import FIXED_SAMPLERS, LEARNED_SAMPLERS, SAMPLERS, FrequencySampler


def sampler_of_family(name: str, num_features: int, num_frequencies: int, scale: float, seed: int) -> FrequencySampler:
    """The sampler of a family; ``seed`` determines the initial weights of one that learns.

    Raises:
        NcfmError: for an unknown family, or numbers out of range.
    """
    check_known(name, SAMPLERS, "family of frequencies")
    if name in FIXED_SAMPLERS:
        return FIXED_SAMPLERS[name](num_features, num_frequencies, scale=scale)
    return LEARNED_SAMPLERS[name](
        num_features, num_frequencies, scale=scale, seed_generator=named_generator(seed, "adversary")
    )


def checked_sampler(sampler: FrequencySampler, num_features: int) -> FrequencySampler:
    """Return a sampler of frequencies for features of width ``num_features``.

    Raises:
        NcfmError: for anything else, or another width.
    """
    if not (isinstance(sampler, nn.Module) and isinstance(sampler, FrequencySampler)):
        raise InputError(
            f"frequencies must be a family ({', '.join(SAMPLERS)}), a sampler of "
            f"ncfm.discrepancy.frequencies or a tensor (k, d), got {type(sampler).__name__}."
        )
    if sampler.num_features != num_features:
        raise InputError(
            f"The sampler draws frequencies of width {sampler.num_features}, the samples have {num_features}; "
            "build both with one num_features."
        )
    return sampler


def kept_frequencies(t: Tensor, num_features: int) -> Frequencies:
    """A copy without gradient of frequencies (k, d) for features of width ``num_features``.

    Raises:
        NcfmError: for another shape, or integers.
    """
    if t.ndim != 2 or t.shape[1] != num_features or not len(t) or not t.is_floating_point():
        raise InputError(
            f"Expected floating-point frequencies of shape (k, {num_features}), got {tuple(t.shape)} of {t.dtype}."
        )
    return t.detach().clone()
