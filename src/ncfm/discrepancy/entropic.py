r"""Weights of frequencies by how well they tell two samples apart, in closed form.

An adversary that chooses a distribution q over a bank of frequencies, and pays for its distance from the uniform one,

.. math:: \max_q \; \sum_j q_j \, g_j / s_j^2 - \tau \, \mathrm{KL}(q \,\|\, \mathrm{uniform}),

has the answer :math:`q_j \propto \exp(g_j / (\tau s_j^2))`: no network, no state.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm._utils.checks import check_positive
from ncfm._utils.types import Features, Frequencies, PerFrequency
from ncfm.discrepancy.precision import in_single

NOISE_FLOOR = 1e-4
"""Added to the variance of a characteristic function, which is 0 where it has the modulus 1."""


def entropic_weights(gap: PerFrequency, variance: PerFrequency, temperature: float) -> PerFrequency:
    r"""Weights (..., k) that sum to 1, :math:`q_j \propto \exp(g_j / (\tau (s_j^2 + \epsilon)))`; no gradient.

    Args:
        gap: g (..., k), see `halves_gap`.
        variance: s^2 (..., k).
        temperature: tau above 0; towards infinity the weights become uniform.
    """
    check_positive(temperature, "temperature")
    return torch.softmax(gap.detach() / (temperature * (variance.detach() + NOISE_FLOOR)), dim=-1)


def structured_frequencies(x: Features, num_directions: int, *, rows: int = 32) -> Frequencies:
    """Frequencies along the directions in which groups of x differ, and in which they vary; no gradient.

    They are the leading principal directions of the group means, and of the rows around them, in equal numbers as far
    as there are that many. Their lengths make projections of the rows around their means have standard deviation 1.
    Where there is nothing to find, frequencies are 0: there all samples agree.

    Args:
        x: (C, n, d).
        num_directions: how many at most.
        rows: of each group, from which the directions within groups are taken.

    Returns:
        (r, d) with r at most num_directions, given by the shape of x alone.
    """
    (x,) = in_single(x.detach())
    means = x.mean(-2)
    within = (x - means[:, None]).flatten(0, 1)
    between = _principal(means - means.mean(0), num_directions // 2)
    inside = _principal((x[:, :rows] - means[:, None]).flatten(0, 1), num_directions - len(between))
    directions = torch.cat([between, inside])
    deviation = (within @ directions.T).square().mean(0).sqrt()  # (r,)
    return directions / deviation.clamp(min=1e-6)[:, None]


def _principal(rows: Tensor, count: int) -> Tensor:
    """The leading right singular vectors (at most count, d) of rows (N, d), from their products (N, N).

    Directions without any spread are 0.
    """
    count = min(count, *rows.shape)
    values, vectors = torch.linalg.eigh(rows @ rows.T)
    values, vectors = values[len(values) - count :].flip(0), vectors[:, len(values) - count :].flip(1)
    directions = vectors.T @ rows
    found = values > 1e-6 * values[:1].clamp(min=1e-30)
    return directions / directions.norm(dim=1, keepdim=True).clamp(min=1e-30) * found[:, None]
