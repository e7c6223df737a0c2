"""Gaps from independent halves of a sample."""

import math

import pytest
import torch
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.discrepancy import characteristic_function, ncfd
from ncfm.discrepancy.frequencies import LEARNED_SAMPLERS
from ncfm.discrepancy.halves import (
    BY_HALVES,
    CRITERIA,
    criterion_by_halves,
    criterion_from_phi,
    halves_gap,
    noise_variance,
    phi_of_halves,
    phi_of_whole,
    studentised_gap,
)
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


# ---------------------------------------------------------------- criteria


def test_the_criteria_are_named():
    assert CRITERIA == ("discrepancy", "halves", "studentised")
    assert set(BY_HALVES) == set(CRITERIA) - {"discrepancy"}


@pytest.mark.parametrize("n", [6, 7])
def test_a_criterion_is_the_mean_over_frequencies_of_a_slow_loop(n):
    x, y, t = normal(0, 2, n, 3), normal(1, 2, 4, 3), normal(2, 5, 3)
    for group in range(2):
        values = []
        for frequency in t:
            a, b = (torch.exp(1j * (half @ frequency)).mean() for half in (x[group, ::2], x[group, 1::2]))
            phi_y = torch.exp(1j * (y[group] @ frequency)).mean()
            values.append(((a - phi_y) * (b - phi_y).conj()).real)
        found = criterion_by_halves("halves", x, y, t)[group]
        assert_close(found, torch.stack(values).mean(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [6, 7])
def test_halves_make_the_whole(n):
    x, t = normal(0, 2, n, 3), normal(1, 4, 3)
    whole = phi_of_whole(*phi_of_halves(x, t, chunk_size=2), n)
    assert_close(whole, characteristic_function(x, t))


def test_one_row_has_no_halves():
    with pytest.raises(NcfmError, match=r"rows to halve .*real_batch_per_class\) must be at least 2, got 1"):
        criterion_by_halves("halves", normal(0, 1, 3), normal(1, 2, 3), normal(2, 4, 3))


@pytest.mark.parametrize("family", LEARNED_SAMPLERS)
def test_equal_distributions_have_a_criterion_of_0_where_noise_raises_the_discrepancy(family):
    # Batches of 32 rows, drawn from the rows of y: the distributions are the same.
    d, batches = 3, 5000
    y = normal(0, 6, d).float()
    x = y[torch.randint(6, (batches, 32), generator=rng(1))]
    t = LEARNED_SAMPLERS[family](d, 32, scale=1.0, seed_generator=rng(2)).sample(rng(3)).detach()
    pair = x, y.expand(batches, -1, -1)
    halves, studentised = (criterion_by_halves(criterion, *pair, t) for criterion in ("halves", "studentised"))
    assert abs(float(halves.mean())) < 4 * float(halves.std()) / math.sqrt(batches)
    assert abs(float(studentised.mean())) < 0.05 * float(studentised.std())  # its unit is estimated from the same rows
    plain = ncfd(*pair, t)
    assert float(plain.mean()) > 100 * float(plain.std()) / math.sqrt(batches)
    # Longer frequencies have more noise, which raises the discrepancy alone.
    longer, shorter = ([f(*pair, scale * t) for f in (_halves, ncfd)] for scale in (1.1, 0.9))
    rises = [a - b for a, b in zip(longer, shorter, strict=True)]
    errors = [float(rise.std()) / math.sqrt(batches) for rise in rises]
    assert abs(float(rises[0].mean())) < 4 * errors[0]
    assert float(rises[1].mean()) > 20 * errors[1]


def _halves(x, y, t):
    return criterion_by_halves("halves", x, y, t)


@pytest.mark.parametrize("criterion", ["halves", "studentised"])
def test_the_gradient_of_some_rows_is_that_of_all_on_average(criterion):
    # Each group has the same rows in an order of its own, so that the mean over groups is that over orders.
    orders, rows, y = 4000, normal(0, 8, 2), 0.4 + normal(1, 5, 2)
    x = torch.stack([rows[torch.randperm(8, generator=rng(i))] for i in range(orders)])
    t = normal(2, 6, 2).requires_grad_()
    values, gradients = [], []
    for gradient_rows in (None, 4):
        phi_y = characteristic_function(y.expand(orders, -1, -1), t)
        halves = phi_of_halves(x, t, gradient_rows=gradient_rows)
        values.append(criterion_from_phi(criterion, *halves, phi_y, 8))
        gradients.append(torch.autograd.grad(values[-1].mean(), t)[0])
    assert_close(values[1], values[0], rtol=1e-10, atol=1e-10)
    if criterion == "halves":  # a root of squares is not unbiased, by a little
        assert_close(gradients[1], gradients[0], rtol=0, atol=0.05 * float(gradients[0].abs().max()))
    assert not torch.equal(gradients[1], gradients[0])
    cosine = torch.nn.functional.cosine_similarity(gradients[1].flatten(), gradients[0].flatten(), dim=0)
    assert float(cosine) > 0.95


@pytest.mark.parametrize("criterion", ["halves", "studentised"])
def test_the_gradient_in_the_frequencies_is_that_of_differences(criterion):
    x, y, t = normal(0, 2, 7, 2), 0.3 + normal(1, 2, 4, 2), normal(2, 5, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda at: criterion_by_halves(criterion, x, y, at), (t,))
