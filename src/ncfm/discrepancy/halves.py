"""Gaps of characteristic functions from independent halves of a sample: criteria that noise does not raise."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

from ncfm._utils.checks import check_at_least
from ncfm._utils.types import Features, Frequencies, PerFrequency, PerGroup, Phi
from ncfm.discrepancy.characteristic import characteristic_function

Criterion = Literal["discrepancy", "halves", "studentised"]
"""What an adversary ascends: the discrepancy that the images descend, or one of `BY_HALVES`."""

CRITERIA: tuple[str, ...] = get_args(Criterion)

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
    characteristic functions, the product g of the halves has about the variance
    :math:`|D|^2 \sigma^2 + \sigma^4 / 2`. \|g\| stands for \|D\|^2, so that values of either sign have the same unit:
    samples of one distribution have the expectation 0.

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
    variance = gap.abs() * noise + noise.square() / 2
    return gap / (variance + VARIANCE_FLOOR).sqrt()


BY_HALVES: dict[str, Callable[[Phi, Phi, Phi, int], PerFrequency]] = {
    "halves": lambda phi_a, phi_b, phi_y, half_size: halves_gap(phi_a, phi_b, phi_y),
    "studentised": studentised_gap,
}
"""Criteria from halves by name: functions of the characteristic functions and of the rows of a half."""


def phi_of_halves(
    x: Features, t: Frequencies, *, chunk_size: int | None = None, gradient_rows: int | None = None
) -> tuple[Phi, Phi]:
    """The characteristic functions of every other row of x (..., n, d), and of the rest; its order has to be random.

    Args:
        x: (..., n, d) with at least two rows.
        t: (k, d).
        chunk_size, gradient_rows: see `characteristic_function`; the rows with gradient are shared by the halves.

    Raises:
        NcfmError: for fewer than two rows.
    """
    check_at_least(x.shape[-2], 2, "number of rows to halve (of a class: distill.real_batch_per_class)")
    rows = None if gradient_rows is None else max(gradient_rows // 2, 1)
    first, second = (
        characteristic_function(half, t, chunk_size=chunk_size, gradient_rows=rows)
        for half in (x[..., ::2, :], x[..., 1::2, :])
    )
    return first, second


def phi_of_whole(phi_a: Phi, phi_b: Phi, sample_size: int) -> Phi:
    """The characteristic function of all n rows from those of their halves, as `phi_of_halves` divides them."""
    share = (sample_size + 1) // 2 / sample_size  # of the first half
    return Phi(*(share * a + (1 - share) * b for a, b in zip(phi_a, phi_b, strict=True)))


def criterion_from_phi(name: str, phi_a: Phi, phi_b: Phi, phi_y: Phi, sample_size: int) -> PerGroup:
    """A criterion of `BY_HALVES` (...): the mean over the frequencies, from the halves of a sample of n rows."""
    return BY_HALVES[name](phi_a, phi_b, phi_y, sample_size // 2).mean(-1)


def criterion_by_halves(
    name: str, x: Features, y: Features, t: Frequencies, *, chunk_size: int | None = None
) -> PerGroup:
    r"""A criterion of `BY_HALVES` of two samples.

    "halves" estimates the mean of \|Phi_x - Phi_y\|^2 over t without the noise of x. Equal distributions have the
    expectation 0, whatever the number of rows. "studentised" divides each frequency by the standard deviation of its
    estimate, and so prefers small gaps that are certain.

    Args:
        name: of `BY_HALVES`.
        x: (..., n, d) real features in random order, at least two rows.
        y: (..., m, d) synthetic features.
        t: (k, d).
        chunk_size: see `characteristic_function`.

    Returns:
        (...); below 0 where noise is larger than the gap.
    """
    phi_y = characteristic_function(y, t, chunk_size=chunk_size)
    return criterion_from_phi(name, *phi_of_halves(x, t, chunk_size=chunk_size), phi_y, x.shape[-2])
