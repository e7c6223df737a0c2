"""Learned frequencies: who learns what, within which bounds."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from every_sampler import (
    LEARNED,
    MIXTURES,
    SAMPLERS,
    direct,
    every_direct,
    every_learned,
    every_mixture,
    push_to_the_edge,
)
from ncfm._utils.checks import NcfmError
from ncfm.discrepancy.frequencies import (
    ScaleMixtureFrequencies,
)
from strategies import normal, rng


def test_who_learns():
    with_parameters = {name for name, build in SAMPLERS.items() if list(build(4, 32).parameters())}
    assert with_parameters == set(LEARNED)


@every_learned
def test_gradients_reach_every_parameter(build):
    sampler = build(4, 64)
    sampler.sample(rng(1)).square().mul(torch.arange(1.0, 5.0)).sum().backward()
    for name, parameter in sampler.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0, name


@every_learned
def test_gradients_of_the_reparameterisation(build):
    noise = {"num_components": 2, "noise_features": 2} if build in MIXTURES.values() else {}
    sampler = build(3, 6, hidden=4, **noise).double()
    names, values = zip(*sampler.named_parameters(), strict=True)

    def frequencies(*parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(_Sample(sampler), {f"sampler.{n}": p for n, p in named.items()}, ())

    assert torch.autograd.gradcheck(frequencies, values)


class _Sample(nn.Module):
    """A module whose forward pass is one draw from a fixed generator state."""

    def __init__(self, sampler):
        super().__init__()
        self.sampler = sampler

    def forward(self):
        return self.sampler.sample(rng(1))


@every_mixture
@pytest.mark.parametrize("k", [1, 5, 64])
def test_rows_are_scales_times_a_normal_draw_of_their_own(build, k):
    sampler, generator = build(4, k, num_components=3), rng(1)
    t = sampler.sample(rng(1))
    sigma = sampler.scales(generator)  # leaves the generator where z is drawn
    z = torch.randn(k, 4, generator=generator)
    assert sigma.shape == (3, 4)
    assert_close(t, torch.stack([sigma[i % 3] * z[i] for i in range(k)]))


@pytest.mark.parametrize(("k", "components"), [(1, 1), (15, 1), (16, 1), (64, 4), (1024, 64)])
def test_a_sixteenth_as_many_components_as_frequencies(k, components):
    scales = ScaleMixtureFrequencies(4, k, seed_generator=rng(0)).scales(rng(1))
    assert scales.shape == (components, 4)
    assert len(scales.unique(dim=0)) == components


@pytest.mark.parametrize("spread", [1.5, 3.0])
def test_scales_stay_inside_their_bounds(spread):
    sampler = ScaleMixtureFrequencies(8, 512, scale=0.7, spread=spread, fixed_bandwidth=False, seed_generator=rng(0))
    push_to_the_edge(sampler)
    scales = sampler.scales(rng(1)).detach()
    assert float(scales.min()) == pytest.approx(0.7 / spread, rel=1e-5)  # on the bounds, not beyond
    assert float(scales.max()) == pytest.approx(0.7 * spread, rel=1e-5)


@pytest.mark.parametrize("extreme", [False, True])
def test_fixed_bandwidth_holds_the_root_mean_square(extreme):
    sampler = ScaleMixtureFrequencies(8, 512, scale=0.7, fixed_bandwidth=True, seed_generator=rng(0))
    if extreme:
        push_to_the_edge(sampler)
    scales = sampler.scales(rng(1)).detach()
    assert_close(scales.square().mean(-1).sqrt(), torch.full((32,), 0.7), rtol=1e-5, atol=0)
    # Only the ratio of two scales is bounded by spread^2: all but one may sit at one bound.
    assert float((scales.max(-1).values / scales.min(-1).values).max()) <= 3.0**2 * (1 + 1e-5)


@every_learned
def test_initial_weights_come_from_the_seed_generator(build):
    one, same, other = (build(4, 32, seed_generator=rng(s)) for s in (0, 0, 1))
    assert torch.equal(one.weight_in, same.weight_in)
    assert torch.equal(one.weight_out, same.weight_out)
    assert not torch.equal(one.weight_in, other.weight_in)
    assert not torch.equal(one.weight_out, other.weight_out)


@every_learned
@pytest.mark.parametrize("spread", [1.0, 0.5, float("nan")])
def test_spread_of_one_or_less(build, spread):
    with pytest.raises(NcfmError, match=r"spread must be above 1 .* use gaussian"):
        build(4, 32, spread=spread)


# ---------------------------------------------------------------- learned directly


def lengths(t):
    """Root mean squares of the rows, (k,)."""
    return t.detach().square().mean(-1).sqrt()


@every_direct
@pytest.mark.parametrize("spread", [1.5, 3.0])
@pytest.mark.parametrize("weights", [1.0, 10.0, 1e4])
def test_lengths_stay_inside_their_bounds(build, spread, weights):
    sampler = build(8, 512, scale=0.7, spread=spread)
    with torch.no_grad():
        sampler.bias_out += weights
        sampler.weight_out *= weights
    r = lengths(sampler.sample(rng(1)))
    if sampler.fixed_bandwidth:
        assert_close(r, torch.full((512,), 0.7), rtol=1e-5, atol=0)
    else:
        assert float(r.min()) >= 0.7 / spread * (1 - 1e-5)
        assert float(r.max()) <= 0.7 * spread * (1 + 1e-5)
        assert float(r.max()) > 0.7 * (1 + 0.4 * (spread - 1))  # they do grow


def test_the_bounds_are_reached_and_the_middle_is_left():
    # Without its last layer psi emits z. For d = 1 its length r = |z| takes all values; it goes to
    # exp(L tanh(log(r) / L)), L = log(3), within a thousandth of r where |log r| < 0.1.
    sampler = direct(False)(1, 20_000, scale=2.0)
    with torch.no_grad():
        sampler.weight_out.zero_()
    t, z = sampler.sample(rng(1)).squeeze(), torch.randn(20_000, 1, generator=rng(1)).squeeze()
    assert torch.equal(t.sign(), z.sign())
    reach = math.log(3)
    expected = 2 * torch.exp(reach * torch.tanh(z.double().abs().log() / reach))
    assert_close(t.detach().double().abs(), expected, rtol=1e-5, atol=0)
    middle = (z.abs().log().abs() < 0.1).nonzero().squeeze()
    assert len(middle) > 500
    assert_close(t[middle].detach(), 2 * z[middle], rtol=1e-3, atol=0)
    # The shortest of 20,000 has r = 1e-4 or so, and tanh(log(r) / L) = -1 to seven digits; the longest has r = 4,
    # where it is .85.
    assert float(t.detach().abs().min()) == pytest.approx(2 / 3, rel=1e-5)
    assert float(t.detach().abs().max()) == pytest.approx(2 * 3**0.85, rel=0.02)


@every_direct
def test_a_row_is_the_network_of_its_own_noise(build):
    # The formula spelled out, row by row; weights large enough for every part of it to matter.
    sampler = build(3, 5, scale=0.7, spread=2.0, hidden=4).double()
    with torch.no_grad():
        for i, parameter in enumerate(sampler.parameters()):
            parameter.copy_(0.8 * normal(i, *parameter.shape))
    noise = torch.randn(5, 3, generator=rng(1)).double()
    for row, z in zip(sampler.sample(rng(1)), noise, strict=True):
        u = sampler.weight_in @ z + sampler.bias_in
        v = z + sampler.weight_out @ (u * (1 + torch.erf(u / math.sqrt(2))) / 2) + sampler.bias_out
        r = v.norm() / math.sqrt(3)
        rho = 1.0 if sampler.fixed_bandwidth else torch.exp(math.log(2) * torch.tanh(r.log() / math.log(2)))
        assert_close(row, 0.7 * rho * v / r, rtol=1e-9, atol=0)


@every_direct
def test_directions_fill_the_space(build):
    # A network without the noise beside it would stay in a subspace of its hidden width.
    t = build(40, 400, hidden=3).sample(rng(1)).detach().double()
    assert float(torch.linalg.svdvals(t).min()) > 5


@every_direct
def test_a_draw_of_nothing_but_zeros_is_finite(build, monkeypatch):
    monkeypatch.setattr(
        "ncfm.discrepancy.learned_frequencies.normal", lambda rows, columns, generator, like: torch.zeros(rows, columns)
    )
    sampler = build(3, 5)
    t = sampler.sample(rng(1))
    t.sum().backward()
    assert float(t.detach().abs().max()) == 0
    assert all(bool(p.grad.isfinite().all()) for p in sampler.parameters())
