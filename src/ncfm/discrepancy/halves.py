"""Gaps of characteristic functions from independent halves of a sample: criteria that noise does not raise."""

from __future__ import annotations

from ncfm._utils.types import Features, Frequencies, PerFrequency, Phi
from ncfm.discrepancy.characteristic import characteristic_function

VARIANCE_FLOOR = 1e-6
"""Added to the variance of a gap, which is 0 where nothing is random."""


def halves_gap(phi_a: Phi, phi_b: Phi, phi_y: Phi) -> PerFrequency:
    r""":math:`\mathrm{Re} [(\Phi_A - \Phi_y) (\Phi_B - \Phi_y)^*]` with independent halves A and B of a sample.

    Its expectation over the halves is \|Phi - Phi_y\|^2: unlike the gap of a single sample it is not raised by noise.
    """
    real = (phi_a.real - phi_y.real) * (phi_b.real - phi_y.real)
    return real + (phi_a.imag - phi_y.imag) * (phi_b.imag - phi_y.imag)


def noise_variance(phi: Phi, sample_size: int) -> PerFrequency:
    r"""Variance :math:`(1 - |\Phi|^2) / n` of the characteristic function of n rows."""
    return (1 - phi.real.square() - phi.imag.square()).clamp(min=0) / sample_size


def studentised_gap(phi_a: Phi, phi_b: Phi, phi_y: Phi, half_size: int) -> PerFrequency:
    r"""`halves_gap` in units of its own standard deviation, as tests of maximal power use it.

    The characteristic function of a half has the variance :math:`\sigma^2 = (1 - |\Phi|^2) / n`. With the gap D of the
    characteristic functions, the product of the halves has about the variance
    :math:`|D|^2 \sigma^2 + \sigma^4 / 2`.

    Args:
        phi_a, phi_b: of the halves of the real sample.
        phi_y: of the synthetic one, taken as it is.
        half_size: rows n of a half.

    Reference:
        Jitkrittum et al., "Interpretable Distribution Features with Maximum Testing Power", NeurIPS 2016.
    """
    gap = halves_gap(phi_a, phi_b, phi_y)
    mean = Phi((phi_a.real + phi_b.real) / 2, (phi_a.imag + phi_b.imag) / 2)
    noise = noise_variance(mean, half_size)
    variance = gap.clamp(min=0) * noise + noise.square() / 2
    return gap / (variance + VARIANCE_FLOOR).sqrt()


def phi_of_halves(x: Features, t: Frequencies) -> tuple[Phi, Phi]:
    """The characteristic functions of every other row of x (..., n, d), and of the rest; its order has to be random."""
    return characteristic_function(x[..., ::2, :], t), characteristic_function(x[..., 1::2, :], t)
