"""Fisher's discriminant on random features: closed forms, limits, invariances."""

import pytest
import torch
from torch.testing import assert_close

from ncfm import InputError
from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.fisher import (
    fisher_gap,
    pooled_covariance,
    precision_weights,
    random_features,
    weighted_mean_gap,
)
from strategies import normal

C, N, M, D, K = 3, 40, 6, 5, 8


@pytest.fixture
def samples():
    return normal(0, C, N, D), 0.5 + 1.5 * normal(1, C, M, D), normal(2, K, D)


def squared_gap(x, y, t):
    phi_x, phi_y = characteristic_function(x, t), characteristic_function(y, t)
    return ((phi_x.real - phi_y.real).square() + (phi_x.imag - phi_y.imag).square()).mean(-1)


def test_means_of_random_features_are_the_characteristic_function(samples):
    x, _, t = samples
    u, phi = random_features(x, t), characteristic_function(x, t)
    assert_close(u.mean(-2) * K**0.5, torch.cat([phi.real, phi.imag], -1))
    assert_close(u.square().sum(-1), torch.ones(C, N, dtype=torch.float64))


def test_the_covariance_is_pooled_over_the_groups(samples):
    x, _, _ = samples
    assert_close(pooled_covariance(x), torch.stack([torch.cov(group.T) for group in x]).mean(0))


def test_strong_shrinkage_is_the_squared_gap_in_value_and_gradient(samples):
    x, y, t = samples
    y.requires_grad_()
    found, plain = fisher_gap(x, y, t, shrinkage=1e9), squared_gap(x, y, t)
    assert_close(found, plain, rtol=1e-7, atol=0)
    gradients = [torch.autograd.grad(value.sum(), y)[0] for value in (found, plain)]
    assert_close(*gradients, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("shrinkage", [0.01, 1.0, 100.0])
def test_weights_have_a_mean_eigenvalue_of_one(samples, shrinkage):
    weights = precision_weights(pooled_covariance(random_features(samples[0], samples[2])), shrinkage)
    eigenvalues = torch.linalg.eigvalsh(weights)
    assert float(eigenvalues.mean()) == pytest.approx(1)
    assert float(eigenvalues.min()) > 0


def test_no_direction_separates_better(samples):
    x, y, t = samples
    u, v = random_features(x, t), random_features(y, t)
    covariance, rho = pooled_covariance(u), 0.3
    shrunk = covariance + rho * covariance.diagonal().mean() * torch.eye(2 * K, dtype=torch.float64)
    difference = u.mean(-2) - v.mean(-2)  # (C, 2k)
    scale = 2 * K / torch.linalg.inv(shrunk).trace()

    def power(w):
        return scale * (w * difference).sum(-1).square() / ((w @ shrunk) * w).sum(-1)

    best = torch.linalg.solve(shrunk, difference.T).T
    found = fisher_gap(x, y, t, shrinkage=rho)
    assert_close(power(best), found, rtol=1e-6, atol=0)
    for seed in range(50):
        assert bool((power(best + 0.3 * best.norm() * normal(seed, C, 2 * K)) <= found).all())


def test_the_gradient_is_that_at_the_best_weights(samples):
    x, y, t = samples
    y.requires_grad_()
    u, v = random_features(x, t), random_features(y, t)
    weights = precision_weights(pooled_covariance(u), 0.5).detach()
    fixed = torch.autograd.grad(weighted_mean_gap(u, v, weights).sum(), y)[0]
    assert_close(torch.autograd.grad(fisher_gap(x, y, t, shrinkage=0.5).sum(), y)[0], fixed)


def test_a_rotation_of_the_features_changes_nothing(samples):
    x, y, t = samples
    u, v = random_features(x, t), random_features(y, t)
    rotation = torch.linalg.qr(normal(5, 2 * K, 2 * K))[0]
    weights = [precision_weights(pooled_covariance(z), 0.2) for z in (u, u @ rotation)]
    assert_close(weighted_mean_gap(u @ rotation, v @ rotation, weights[1]), weighted_mean_gap(u, v, weights[0]))


@pytest.mark.parametrize("rows", [1, 20])
def test_equal_samples_are_zero_with_a_gradient_of_zero(rows):
    x = normal(0, C, rows, D)
    y = x.clone().requires_grad_()
    value = fisher_gap(x, y, normal(2, K, D), shrinkage=0.1)
    (gradient,) = torch.autograd.grad(value.sum(), y)
    assert_close(value.detach(), torch.zeros(C, dtype=torch.float64), atol=1e-15, rtol=0)
    assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)


def test_shrinkage_is_above_zero(samples):
    with pytest.raises(InputError, match="shrinkage"):
        fisher_gap(*samples, shrinkage=0.0)
