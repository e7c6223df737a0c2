"""What a sampler of frequencies is, and the check of one from outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.accelerator import to_device
from ncfm._utils.checks import InputError, describe
from ncfm._utils.types import Frequencies

TINY = 1e-20  # against draws of exactly 0: far below any other square of a normal number


@runtime_checkable
class FrequencySampler(Protocol):
    """A sampler of frequencies. It is an ``nn.Module``, with no parameters if nothing is learned."""

    num_frequencies: int
    num_features: int

    def sample(self, generator: Generator) -> Frequencies:
        """Draw t of shape (k, d); gradients reach the sampler's parameters."""
        ...


def check_sampler(sampler: object, name: str, num_features: int) -> FrequencySampler:
    """Check a sampler from outside: its members, and one draw.

    Args:
        sampler: what the callable returned.
        name: of the callable, for messages.
        num_features: width d of the features.

    Raises:
        NcfmError: naming the callable, if this is not a sampler, a draw is not (k, d) and finite, a sampler with
            parameters gives a draw without gradient, or one without them has a state that draws change.
    """
    if not (isinstance(sampler, nn.Module) and isinstance(sampler, FrequencySampler)):
        raise InputError(
            f"The sampler {name!r} must return a torch.nn.Module with num_frequencies, num_features and "
            f"sample(generator), got {describe(sampler)}."
        )
    before = {key: value.clone() for key, value in sampler.state_dict().items()}
    try:
        t = sampler.sample(torch.Generator().manual_seed(0))
    except Exception as error:
        raise InputError(f"The sampler {name!r} fails in sample(generator): {type(error).__name__}: {error}") from error
    wanted = (sampler.num_frequencies, num_features)
    if not isinstance(t, Tensor) or tuple(t.shape) != wanted:
        raise InputError(
            f"The sampler {name!r} must draw frequencies of shape (num_frequencies, num_features) = {wanted}, "
            f"got {describe(t)}."
        )
    if not bool(torch.isfinite(t).all()):
        raise InputError(f"The sampler {name!r} draws frequencies that are not finite.")
    if any(p.requires_grad for p in sampler.parameters()) and not t.requires_grad:
        raise InputError(
            f"The sampler {name!r} has parameters, but no gradient reaches them: draw with a reparameterisation, "
            "such as scale * noise."
        )
    if not any(True for _ in sampler.parameters()) and _differs(sampler.state_dict(), before):
        raise InputError(
            f"The sampler {name!r} learns nothing, and its draws change its buffers, which a checkpoint holds of "
            "learned samplers only; draw from the generator alone."
        )
    return sampler


def _differs(state: Mapping[str, Tensor], before: Mapping[str, Tensor]) -> bool:
    return any(not torch.equal(value, before[key]) for key, value in state.items())


def normal(rows: int, columns: int, generator: Generator, like: Tensor | None) -> Tensor:
    """Standard normal numbers drawn on the generator's device and moved to that of ``like``."""
    values = torch.randn(rows, columns, generator=generator, device=generator.device)
    return values if like is None else to_device(values, like.device).to(like.dtype)
