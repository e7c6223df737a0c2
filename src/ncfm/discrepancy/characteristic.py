"""The characteristic function of a sample, and the discrepancy of two: NCFD, with its amplitude and phase.

Reference:
    Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective", CVPR 2025,
    arXiv 2502.20653.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least, check_fraction, check_matrix_pair
from ncfm._utils.types import Features, Frequencies, PerFrequency, PerGroup, Phi
from ncfm.discrepancy.precision import in_single

ROOT_EPSILON = 1e-8
"""Added under the root of `ncfd`: 1e-4 in units of a gap, far below the sampling noise of a few images. The slope of
the root stays below 1 / (2 sqrt(epsilon)) = 5000 where the samples agree."""

MAX_PROJECTIONS = 2**22
"""Numbers <t, x> in memory at once by default, 16 MiB in float32: about a cache, and small next to the features."""

_TINY = 1e-12  # under the root of a modulus, whose slope at 0 would be undefined


def characteristic_function(
    x: Features, t: Frequencies, *, chunk_size: int | None = None, gradient_rows: int | None = None
) -> Phi:
    r"""Empirical characteristic function of each group of x.

    .. math:: \Phi_x(t) = \frac{1}{n} \sum_i \exp(j \langle t, x_i \rangle)

    Args:
        x: (..., n, d).
        t: (k, d).
        chunk_size: rows of x per chunk; default: as many as give `MAX_PROJECTIONS` numbers. With fewer than n rows, the
            projections (..., n, k) are never in memory as a whole: the backward pass computes a chunk's again, and
            second derivatives are not available.
        gradient_rows: the value is that of all rows, its gradient that of the first ``gradient_rows`` ones. For rows in
            random order this is an unbiased estimate of the gradient in t, at a fraction of its cost.

    Returns:
        Real and imaginary part, (..., k) each, of the wider type of x and t, at least float32.

    Raises:
        NcfmError: if the widths differ.

    >>> phi = characteristic_function(torch.zeros(5, 3), torch.ones(2, 3))
    >>> phi.real.tolist(), phi.imag.tolist()
    ([1.0, 1.0], [0.0, 0.0])
    """
    if x.shape[-1] != t.shape[-1]:
        raise InputError(
            f"Features and frequencies must have one width d, got {x.shape[-1]} and {t.shape[-1]}; "
            "build the sampler with the extractor's num_features."
        )
    check_at_least(len(t), 1, "number of frequencies")
    x, t = in_single(x, t)
    if chunk_size is None:
        chunk_size = max(MAX_PROJECTIONS // (x.shape[:-2].numel() * len(t)), 1)
    check_at_least(chunk_size, 1, "chunk_size")
    n = x.shape[-2]
    if gradient_rows is not None:
        check_at_least(gradient_rows, 1, "gradient_rows")
        if gradient_rows < n and torch.is_grad_enabled() and (x.requires_grad or t.requires_grad):
            first, rest = x[..., :gradient_rows, :], x[..., gradient_rows:, :].detach()
            sums = (_cos_sin_sums(part, t_, chunk_size) for part, t_ in ((first, t), (rest, t.detach())))
            # The value counts every row once; the gradient is that of the first rows, as if all were like them.
            phi = (((a.detach() + b) / n + (a - a.detach()) / gradient_rows) for a, b in zip(*sums, strict=True))
            return Phi(*phi)
    cos, sin = _cos_sin_sums(x, t, chunk_size)
    return Phi(cos / n, sin / n)


def _cos_sin_sums(x: Features, t: Frequencies, chunk_size: int) -> tuple[Tensor, Tensor]:
    """Sums over the rows of x of cos and sin of the projections <t, x>, (..., k) each."""
    if x.shape[-2] > chunk_size:
        cos, sin = _CosSinSums.apply(x, t, chunk_size)  # type: ignore[no-untyped-call]
        return cos, sin
    projections = _project(x, t)
    return projections.cos().sum(-2), projections.sin().sum(-2)


def _project(x: Features, t: Frequencies) -> Tensor:
    """<t, x> for all rows of all groups, (..., n, k), as one product: by group it is slower."""
    return (x.flatten(0, -2) @ t.T).unflatten(0, x.shape[:-1])


class _CosSinSums(torch.autograd.Function):
    """`_cos_sin_sums` chunk by chunk of rows.

    With p = <t, x>, d cos(p) = -sin(p) dp and d sin(p) = cos(p) dp: the backward pass needs the projections again, and
    makes them again, chunk by chunk, so that they are never held whole.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, t: Tensor, chunk_size: int) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(x, t)
        ctx.chunk_size = chunk_size
        cos = x.new_zeros(*x.shape[:-2], len(t))
        sin = torch.zeros_like(cos)
        for part in x.split(chunk_size, dim=-2):
            projections = _project(part, t)
            sin += projections.sin().sum(-2)
            cos += projections.cos_().sum(-2)
        return cos, sin

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, to_cos: Tensor, to_sin: Tensor) -> tuple[Tensor | None, ...]:
        x, t = ctx.saved_tensors
        dx = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        dt = torch.zeros_like(t) if ctx.needs_input_grad[1] else None
        for start in range(0, x.shape[-2], ctx.chunk_size):
            rows = slice(start, start + ctx.chunk_size)
            part = x[..., rows, :]
            projections = _project(part, t)
            slopes = projections.cos().mul_(to_sin[..., None, :])
            slopes -= projections.sin_().mul_(to_cos[..., None, :])
            if dx is not None:
                dx[..., rows, :] = (slopes.flatten(0, -2) @ t).view(part.shape)
            if dt is not None:
                dt += slopes.flatten(0, -2).T @ part.flatten(0, -2)
        return dx, dt, None


def modulus(phi: Phi, sample_size: int | None = None) -> PerFrequency:
    r"""Modulus \|Phi(t)\|, smooth at 0; with ``sample_size`` n an estimate without the bias of a finite sample.

    The plain modulus of a sample overstates: E \|Phi_n\|^2 = \|Phi\|^2 + (1 - \|Phi\|^2) / n. The corrected square is
    (n \|Phi_n\|^2 - 1) / (n - 1), cut off at 0.
    """
    square = phi.real.square() + phi.imag.square()
    if sample_size is not None and sample_size > 1:
        square = ((sample_size * square - 1) / (sample_size - 1)).clamp(min=0)
    return torch.sqrt(square + _TINY)


def amplitude_gap(phi_x: Phi, phi_y: Phi, *, sample_sizes: tuple[int, int] | None = None) -> PerFrequency:
    r"""Difference in spread at each frequency, :math:`(|\Phi_x| - |\Phi_y|)^2`; drives diversity.

    ``sample_sizes`` (n, m) asks for moduli corrected for their finite samples, see `modulus`.
    """
    n, m = sample_sizes or (None, None)
    return (modulus(phi_x, n) - modulus(phi_y, m)).square()


def phase_gap(phi_x: Phi, phi_y: Phi) -> PerFrequency:
    r"""Difference in location at each frequency, :math:`2 |\Phi_x| |\Phi_y| (1 - \cos(\arg\Phi_x - \arg\Phi_y))`.

    Computed as \|Phi_x - Phi_y\|^2 less the amplitude gap, which is the same by the law of cosines: no angle, hence no
    branch cut, and no difference of numbers near 1 (the product form loses gaps below 1e-7 in float32). Drives
    realism.
    """
    square = (phi_x.real - phi_y.real).square() + (phi_x.imag - phi_y.imag).square()
    # Never negative by the triangle inequality, which the smooth moduli obey too; rounding may not know.
    return (square - amplitude_gap(phi_x, phi_y)).clamp(min=0)


class Parts(NamedTuple):
    """NCFD of every group, and the gaps that it is made of."""

    ncfd: PerGroup  # (...)
    amplitude: PerGroup  # (...) mean over t of `amplitude_gap`, without gradient
    phase: PerGroup  # (...) mean over t of `phase_gap`, without gradient


def ncfd_from_phi(
    phi_x: Phi,
    phi_y: Phi,
    *,
    amplitude_weight: float = 0.5,
    epsilon: float = ROOT_EPSILON,
    sample_sizes: tuple[int, int] | None = None,
) -> PerGroup:
    """NCFD of two characteristic functions known at the same frequencies; see `ncfd`."""
    return parts_from_phi(
        phi_x, phi_y, amplitude_weight=amplitude_weight, epsilon=epsilon, sample_sizes=sample_sizes
    ).ncfd


def parts_from_phi(
    phi_x: Phi,
    phi_y: Phi,
    *,
    amplitude_weight: float = 0.5,
    epsilon: float = ROOT_EPSILON,
    sample_sizes: tuple[int, int] | None = None,
) -> Parts:
    """`ncfd_from_phi` with the amplitude and the phase apart, to be logged: two means more."""
    check_fraction(amplitude_weight, "amplitude_weight")
    amplitude, phase = amplitude_gap(phi_x, phi_y, sample_sizes=sample_sizes), phase_gap(phi_x, phi_y)
    gap = amplitude_weight * amplitude
    gap = gap + (1 - amplitude_weight) * phase
    # The root of epsilon is taken in the same precision, so that equal samples are exactly 0 apart.
    ncfd = (torch.sqrt(gap + epsilon) - torch.sqrt(gap.new_full((), epsilon))).mean(-1)
    return Parts(ncfd, amplitude.detach().mean(-1), phase.detach().mean(-1))


def ncfd(
    x: Features,
    y: Features,
    frequencies: Frequencies,
    *,
    amplitude_weight: float = 0.5,
    epsilon: float = ROOT_EPSILON,
    corrected: bool = False,
    chunk_size: int | None = None,
    gradient_rows: int | None = None,
) -> PerGroup:
    r"""Neural characteristic function discrepancy.

    .. math:: \frac{1}{k} \sum_t \sqrt{\alpha (|\Phi_x| - |\Phi_y|)^2
              + (1 - \alpha) 2 |\Phi_x| |\Phi_y| (1 - \cos(\arg\Phi_x - \arg\Phi_y))}

    At alpha = 1/2 this is the mean of \|Phi_x - Phi_y\| / sqrt(2). The root is taken as
    ``sqrt(gap + epsilon) - sqrt(epsilon)``: zero where the samples agree, with a finite slope there.

    Args:
        x: (..., n, d) real features.
        y: (..., m, d) synthetic features of the same groups.
        frequencies: (k, d), shared by the groups.
        amplitude_weight: alpha in [0, 1]; 1 compares amplitudes only, 0 phases only.
        epsilon: see above.
        corrected: correct the amplitudes for their finite samples (see `modulus`).
        chunk_size: see `characteristic_function`.
        gradient_rows: rows of x that the gradient in the frequencies is taken from, see `characteristic_function`.

    Returns:
        One value for every group, shape (...), in [0, max(sqrt(alpha), 2 sqrt(1 - alpha))]: at most sqrt(2) at 1/2.

    Raises:
        NcfmError: if shapes do not fit or alpha is not in [0, 1].

    Reference:
        Wang et al., CVPR 2025, arXiv 2502.20653, section 3.

    >>> x = torch.randn(8, 3)
    >>> float(ncfd(x, x, torch.randn(16, 3)))
    0.0
    """
    check_matrix_pair(x, y)
    return ncfd_from_phi(
        characteristic_function(x, frequencies, chunk_size=chunk_size, gradient_rows=gradient_rows),
        characteristic_function(y, frequencies, chunk_size=chunk_size),
        amplitude_weight=amplitude_weight,
        epsilon=epsilon,
        sample_sizes=(x.shape[-2], y.shape[-2]) if corrected else None,
    )


def root_mean_gap(x: Features, y: Features, frequencies: Frequencies) -> PerGroup:
    r"""Root-mean-square distance of characteristic functions, :math:`\sqrt{\mathrm{mean}_t |\Phi_x - \Phi_y|^2}`.

    A metric on samples for fixed frequencies (it obeys the triangle inequality), and for Gaussian frequencies of
    deviation 1/s the random-feature form of the Gaussian-kernel MMD of bandwidth s (Bochner). For measuring, not for
    training: its gradient is not defined where the samples agree.
    """
    check_matrix_pair(x, y)
    phi_x, phi_y = (characteristic_function(z, frequencies) for z in (x, y))
    square = (phi_x.real - phi_y.real).square() + (phi_x.imag - phi_y.imag).square()
    return square.mean(-1).sqrt()
