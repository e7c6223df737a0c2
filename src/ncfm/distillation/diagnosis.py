"""What an adversary's frequencies see that fixed ones do not.

For one iteration's features: the discrepancy of the classes at the learned frequencies and at fixed Gaussian ones of
the same number and scale, and the share of the amplitudes in it. Two more numbers say whether there is anything to see.
The modulus of the real characteristic function is 1 at frequency 0 and falls to the noise of a finite sample. The
excess compares the gap with that of two samples from the same distribution.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.types import Features, Frequencies, PerGroup
from ncfm.discrepancy import amplitude_gap, characteristic_function, ncfd_from_phi, phase_gap
from ncfm.discrepancy.frequencies import FrequencySampler, GaussianFrequencies

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Look(NamedTuple):
    """What some frequencies see, by class."""

    discrepancy: PerGroup  # (C,) NCFD
    amplitude_share: PerGroup  # (C,) of the weighted amplitude gap in the weighted sum of both gaps, means over t
    modulus: PerGroup  # (C,) mean |Phi_x|
    excess: PerGroup  # (C,) mean |Phi_x - Phi_y|^2 over its mean for two samples of one distribution; 1: no difference
    bandwidths: Tensor  # (5,) `QUANTILES` over t of ||t|| / sqrt(d)
    spread: Tensor  # () standard deviation of <t, x> over the real features of a class, RMS over t and classes


class Diagnosis(NamedTuple):
    """The learned frequencies next to fixed ones."""

    learned: Look
    fixed: Look

    def as_dict(self) -> dict[str, list[float] | float]:
        """Plain numbers for JSON: ``learned.discrepancy``, ..."""
        return {
            f"{name}.{field}": value.tolist()
            for name, look in zip(self._fields, self, strict=True)
            for field, value in look._asdict().items()
        }


class Spectrum(NamedTuple):
    """The length and the number of directions of some frequencies."""

    length: float  # root mean square of their coordinates
    directions: float  # participation ratio of the second moment M of t: tr(M)^2 / tr(M^2), from 1 to min(k, d)


@torch.no_grad()
def spectrum(t: Frequencies) -> Spectrum:
    """The spectrum of frequencies t, (k, d). Of k independent normal ones there are about k d / (k + d) directions."""
    gram = t @ t.T if len(t) <= t.shape[1] else t.T @ t  # they have the same traces
    trace = gram.diagonal().sum()
    directions = trace.square() / gram.square().sum().clamp_min(torch.finfo(gram.dtype).tiny)
    return Spectrum(float(t.square().mean().sqrt()), float(directions))


@contextmanager
def unchanged(sampler: FrequencySampler) -> Iterator[None]:
    """Undo what draws change in a sampler's buffers: a look at it must not change the run."""
    module = cast("nn.Module", sampler)
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])


COLLAPSED = 0.1  # of the length or the directions at the start: a working adversary keeps more


def collapse(start: Spectrum, now: Spectrum) -> str | None:
    """What is wrong with an adversary's frequencies, in words; None if nothing is.

    Lengths near 0 see only that both distributions have mass 1. Lengths far beyond the start's see only the noise of
    finite samples. Few directions see only a projection of the features.
    """
    if not COLLAPSED * start.length <= now.length <= start.length / COLLAPSED:
        return f"their length went from {start.length:.3g} to {now.length:.3g}"
    if now.directions < COLLAPSED * start.directions:
        return f"of {start.directions:.0f} directions {now.directions:.0f} are left"
    return None


@torch.no_grad()
def diagnose(
    sampler: FrequencySampler, real: Features, synthetic: Features, generator: Generator, *, amplitude_weight: float
) -> Diagnosis:
    """One iteration's features at a draw of a sampler and at fixed Gaussian frequencies.

    Args:
        sampler: of the learned frequencies.
        real: (C, n, d).
        synthetic: (C, m, d).
        generator: draws both sets of frequencies; its own stream, so that a diagnosis changes no result.
        amplitude_weight: alpha in [0, 1].
    """
    with unchanged(sampler):
        learned = sampler.sample(generator)
    scale = float(learned.square().mean().sqrt())
    gaussian = GaussianFrequencies(learned.shape[1], len(learned), scale=scale).to(learned.device)
    alpha = amplitude_weight
    return Diagnosis(look(real, synthetic, learned, alpha), look(real, synthetic, gaussian.sample(generator), alpha))


def look(real: Features, synthetic: Features, t: Frequencies, amplitude_weight: float) -> Look:
    """What frequencies t, (k, d), see."""
    phi_x, phi_y = characteristic_function(real, t), characteristic_function(synthetic, t)
    amplitude = amplitude_weight * amplitude_gap(phi_x, phi_y).mean(-1)
    phase = (1 - amplitude_weight) * phase_gap(phi_x, phi_y).mean(-1)
    square_x = phi_x.real.square() + phi_x.imag.square()
    square = (phi_x.real - phi_y.real).square() + (phi_x.imag - phi_y.imag).square()
    n, m = real.shape[-2], synthetic.shape[-2]
    # Two samples of one distribution: E |Phi_n - Phi_m|^2 = (1 - |Phi|^2) (1 / n + 1 / m), E |Phi_n|^2 as in `modulus`.
    square_phi = ((n * square_x - 1) / (n - 1)).clamp(0, 1) if n > 1 else square_x
    floor = (1 - square_phi) * (1 / n + 1 / m)
    centred = real - real.mean(-2, keepdim=True)
    return Look(
        discrepancy=ncfd_from_phi(phi_x, phi_y, amplitude_weight=amplitude_weight),
        amplitude_share=amplitude / (amplitude + phase).clamp_min(torch.finfo(amplitude.dtype).tiny),
        modulus=square_x.sqrt().mean(-1),
        excess=square.mean(-1) / floor.mean(-1).clamp_min(torch.finfo(floor.dtype).tiny),
        bandwidths=torch.quantile(t.norm(dim=-1) / t.shape[-1] ** 0.5, t.new_tensor(QUANTILES)),
        spread=(centred @ t.T).square().mean().sqrt(),
    )
