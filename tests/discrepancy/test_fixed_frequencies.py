"""Fixed frequencies: moments of the normal, quantiles and kernels of the heavy tails."""

import math

import pytest
import torch
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.frequencies import (
    GaussianFrequencies,
    StudentTFrequencies,
)
from strategies import interval, normal, rng


def test_gaussian_has_the_moments_of_its_scale():
    t = GaussianFrequencies(4, 50_000, scale=0.5).sample(rng(1)).double().flatten() / 0.5
    for power, moment in [(1, 0), (2, 1), (3, 0), (4, 3)]:
        mean, error = interval(t**power)
        assert abs(float(mean) - moment) < float(error)


@pytest.mark.parametrize(
    ("degrees", "quantiles"),
    [
        # Tables of Student's t: the probability below, and where it lies.
        (1, {0.75: 1.0, 0.9: 3.0777, 0.975: 12.706}),
        (2, {0.75: 0.8165, 0.9: 1.8856, 0.975: 4.3027}),
        (3, {0.75: 0.7649, 0.9: 1.6377, 0.975: 3.1824}),
        (10, {0.75: 0.6998, 0.9: 1.3722, 0.975: 2.2281}),
    ],
)
def test_student_has_the_quantiles_of_its_table(degrees, quantiles):
    t = StudentTFrequencies(1, 100_000, scale=0.5, degrees_of_freedom=degrees).sample(rng(1)).flatten() / 0.5
    for probability, quantile in quantiles.items():
        for below in (t < quantile, t > -quantile):
            mean, error = interval(below.double())
            assert abs(float(mean) - probability) < float(error)


@pytest.mark.parametrize("degrees", [5, 12])
def test_student_has_the_variance_of_its_degrees(degrees):
    t = StudentTFrequencies(1, 400_000, scale=2.0, degrees_of_freedom=degrees).sample(rng(1)).double().flatten()
    mean, error = interval(t.square())
    assert abs(float(mean) - 4 * degrees / (degrees - 2)) < float(error)
    assert float(error) < 0.1 * float(mean)


@pytest.mark.parametrize("degrees", [1, 3])
def test_a_row_of_student_has_one_length_for_all_its_components(degrees):
    # |t|^2 / 2 of two components is F-distributed, P(F > f) = (1 + 2 f / nu)^(-nu / 2); a chi^2 for each component
    # would make it the mean of two independent squares.
    t = StudentTFrequencies(2, 100_000, scale=1.0, degrees_of_freedom=degrees).sample(rng(1)).double()
    for f in (0.5, 2.0, 10.0):
        mean, error = interval((t.square().mean(-1) > f).double())
        assert abs(float(mean) - (1 + 2 * f / degrees) ** (-degrees / 2)) < float(error)


@pytest.mark.parametrize("degrees", [1, 3, 5])
def test_the_kernel_of_student_is_a_matern_kernel(degrees):
    # E exp(j <t, u>) in closed form for half-integer smoothness, a = sqrt(nu) scale |u|.
    polynomial = {1: lambda a: 1.0, 3: lambda a: 1 + a, 5: lambda a: 1 + a + a**2 / 3}[degrees]
    t = StudentTFrequencies(3, 100_000, scale=0.7, degrees_of_freedom=degrees).sample(rng(1)).double()
    for length in (0.3, 1.0, 3.0):
        u = torch.nn.functional.normalize(normal(2, 3), dim=0) * length
        a = math.sqrt(degrees) * 0.7 * length
        mean, error = interval(characteristic_function(u[None], t).real)
        assert abs(float(mean) - polynomial(a) * math.exp(-a)) < float(error)
        assert float(error) < 0.02


def test_student_of_many_degrees_is_gaussian():
    student, gaussian = StudentTFrequencies(4, 50, degrees_of_freedom=100_000), GaussianFrequencies(4, 50)
    # The same normal draws; chi^2 / nu is off 1 by sqrt(2 / nu) = 0.0045, its root by half of that.
    assert_close(student.sample(rng(1)), gaussian.sample(rng(1)), rtol=0.01, atol=0)


def test_a_length_of_zero_makes_no_infinite_frequency(monkeypatch):
    draws = {3: torch.ones(5, 3), 1: torch.zeros(5, 1)}  # z = 1, chi^2 = 0
    monkeypatch.setattr(
        "ncfm.discrepancy.fixed_frequencies.normal", lambda rows, columns, generator, like: draws[columns]
    )
    t = StudentTFrequencies(3, 5, degrees_of_freedom=1).sample(rng(1))
    assert bool(t.isfinite().all())
    assert float(t.min()) > 1e3


@pytest.mark.parametrize("degrees", [0, -1])
def test_no_degrees_of_freedom(degrees):
    with pytest.raises(NcfmError, match=f"degrees_of_freedom must be at least 1, got {degrees}"):
        StudentTFrequencies(4, 32, degrees_of_freedom=degrees)
