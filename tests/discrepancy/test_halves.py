"""Gaps from independent halves of a sample."""

import math

import torch
from torch.testing import assert_close

from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.halves import halves_gap, noise_variance, phi_of_halves, studentised_gap
from strategies import normal, rng


def test_noise_does_not_raise_the_gap_of_halves():
    # Standard normal x and one point y = 0: Phi = exp(-|t|^2 / 2), Phi_y = 1.
    repeats, n, t = 4000, 8, torch.tensor([[0.5], [1.0], [2.0]], dtype=torch.float64)
    x = torch.randn(repeats, 2 * n, 1, generator=rng(0), dtype=torch.float64)
    phi_y = characteristic_function(torch.zeros(1, 1, dtype=torch.float64), t)
    halves = [characteristic_function(half, t) for half in (x[:, :n], x[:, n:])]
    gap = halves_gap(*halves, phi_y)
    true = (1 - torch.exp(-t[:, 0].square() / 2)).square()
    error = gap.std(0) / math.sqrt(repeats)
    assert bool(((gap.mean(0) - true).abs() < 4 * error).all())
    plain = (halves[0].real - 1).square() + halves[0].imag.square()
    raised = (1 - torch.exp(-t[:, 0].square())) / n  # (1 - |Phi|^2) / n
    assert bool(((plain.mean(0) - true - raised).abs() < 4 * plain.std(0) / math.sqrt(repeats)).all())
    assert float(noise_variance(characteristic_function(x[0], t), 5).max()) <= 0.2


def test_a_studentised_gap_is_in_units_of_its_noise():
    t = torch.tensor([[0.7], [1.5]], dtype=torch.float64)
    y = torch.randn(1, 200_000, 1, generator=rng(2), dtype=torch.float64)  # as good as the distribution
    means = {}
    for shift, n in ((0.0, 16), (0.8, 16), (0.8, 64)):
        x = torch.randn(2000, 2 * n, 1, generator=rng(1), dtype=torch.float64)
        found = studentised_gap(*phi_of_halves(x, t), characteristic_function(y + shift, t), n)
        # The noise of cos and sin is not alike here, as the variance assumes.
        assert bool(((found.std(0) > 0.5) & (found.std(0) < 1.2)).all())
        means[shift, n] = found.mean(0)
    assert bool((means[0.0, 16].abs() < 0.2).all())
    assert bool((means[0.8, 16] > 1).all())
    assert_close(
        means[0.8, 64] / means[0.8, 16], torch.full((2,), 2.0, dtype=torch.float64), rtol=0.2, atol=0
    )  # sqrt(n)


def test_halves_are_every_other_row():
    x, t = normal(0, 2, 7, 3), normal(1, 4, 3)
    a, b = phi_of_halves(x, t)
    assert_close((4 * a.real + 3 * b.real) / 7, characteristic_function(x, t).real)
    assert_close(a.imag, characteristic_function(x[:, [0, 2, 4, 6]], t).imag)
