import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ncfm._checks import NcfmError
from ncfm.frequencies import FrequencySampler, GaussianFrequencies, ScaleMixtureFrequencies
from strategies import interval, rng


def mixture(fixed_bandwidth):
    def build(d, k, **options):
        options = {"seed_generator": rng(0), "fixed_bandwidth": fixed_bandwidth, **options}
        return ScaleMixtureFrequencies(d, k, **options)

    return build


# Every sampler, as a function of (num_features, num_frequencies, **options).
SAMPLERS = {
    "gaussian": GaussianFrequencies,
    "mixture": mixture(False),
    "mixture-fixed-bandwidth": mixture(True),
}
MIXTURES = {name: build for name, build in SAMPLERS.items() if name.startswith("mixture")}
every_sampler = pytest.mark.parametrize("build", SAMPLERS.values(), ids=SAMPLERS.keys())
every_mixture = pytest.mark.parametrize("build", MIXTURES.values(), ids=MIXTURES.keys())


def push_to_the_edge(sampler, seed=3):
    """Weights so large that tanh saturates: every scale sits on one of its bounds."""
    with torch.no_grad():
        for parameter in sampler.parameters():
            parameter.copy_(1e3 * torch.randn(parameter.shape, generator=rng(seed)))


# ---------------------------------------------------------------- every sampler


@every_sampler
def test_keeps_the_protocol(build):
    sampler = build(5, 32)
    assert isinstance(sampler, FrequencySampler)
    assert isinstance(sampler, nn.Module)
    assert (sampler.num_features, sampler.num_frequencies) == (5, 32)


@every_sampler
@pytest.mark.parametrize(("d", "k"), [(1, 1), (3, 7), (5, 16), (4, 100), (8, 1024)])
def test_shape_and_distinct_finite_rows(build, d, k):
    t = build(d, k).sample(rng(1))
    assert t.shape == (k, d)
    assert t.dtype == torch.float32
    assert bool(t.isfinite().all())
    # Fewer would mean repeated rows: a mixture has only k / 16 scale vectors, each row needs its own draw.
    assert len(t.unique(dim=0)) == k


@every_sampler
def test_fresh_at_every_call(build):
    sampler, generator = build(4, 32), rng(1)
    first, second = sampler.sample(generator), sampler.sample(generator)
    assert not bool((first == second).any())


@every_sampler
def test_same_generator_state_gives_the_same_bits(build):
    sampler = build(4, 32)
    assert torch.equal(sampler.sample(rng(1)), sampler.sample(rng(1)))
    assert not torch.equal(sampler.sample(rng(1)), sampler.sample(rng(2)))


@every_sampler
def test_draws_only_from_the_given_generator(build):
    before = torch.random.get_rng_state()
    build(4, 32).sample(rng(1))
    assert torch.equal(torch.random.get_rng_state(), before)


@every_sampler
def test_twice_the_scale_is_twice_the_frequencies(build):
    once, twice = build(4, 32, scale=1.5).sample(rng(1)), build(4, 32, scale=3.0).sample(rng(1))
    assert_close(twice, 2 * once)


@every_sampler
def test_starts_near_the_gaussian_of_its_scale(build):
    d, k, scale = 6, 20_000, 2.0
    sampler = build(d, k, scale=scale)
    z = sampler.sample(rng(1)).detach().double() / scale
    covariance = z.T @ z / k
    # A sample covariance is off by sqrt(2 / k) = 0.01 on the diagonal, 0.007 beside it; a mixture's relative
    # scales start with a deviation of about 0.07 and their squares with a mean within 0.05 of 1.
    assert_close(covariance, torch.eye(d).double(), atol=0.1, rtol=0)
    assert float(z.mean(0).abs().max()) < 5 / math.sqrt(k)


def test_gaussian_has_the_moments_of_its_scale():
    t = GaussianFrequencies(4, 50_000, scale=0.5).sample(rng(1)).double().flatten() / 0.5
    for power, moment in [(1, 0), (2, 1), (3, 0), (4, 3)]:
        mean, error = interval(t**power)
        assert abs(float(mean) - moment) < float(error)


@every_sampler
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale must be above 0, got 0.0"),
        ({"scale": -1.0}, "scale must be above 0"),
        ({"scale": float("nan")}, "scale must be above 0"),
    ],
)
def test_scale_that_makes_no_sense(build, options, message):
    with pytest.raises(NcfmError, match=message):
        build(4, 32, **options)


@every_sampler
def test_no_frequencies(build):
    with pytest.raises(NcfmError, match="num_frequencies must be at least 1, got 0"):
        build(4, 0)


# ---------------------------------------------------------------- the learned ones


def test_only_the_mixtures_learn():
    assert list(GaussianFrequencies(4).parameters()) == []
    assert all(list(build(4, 32).parameters()) for build in MIXTURES.values())


@every_mixture
def test_gradients_reach_every_parameter(build):
    sampler = build(4, 64)
    sampler.sample(rng(1)).square().mul(torch.arange(1.0, 5.0)).sum().backward()
    for name, parameter in sampler.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        assert float(parameter.grad.abs().max()) > 0, name


@every_mixture
def test_gradients_of_the_reparameterisation(build):
    sampler = build(3, 6, num_components=2, hidden=4, noise_features=2).double()
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


def test_initial_weights_come_from_the_seed_generator():
    one, same, other = (ScaleMixtureFrequencies(4, 32, seed_generator=rng(s)) for s in (0, 0, 1))
    assert torch.equal(one.weight_in, same.weight_in)
    assert torch.equal(one.weight_out, same.weight_out)
    assert not torch.equal(one.weight_out, other.weight_out)


@every_mixture
@pytest.mark.parametrize("spread", [1.0, 0.5])
def test_spread_of_one_or_less(build, spread):
    with pytest.raises(NcfmError, match=r"spread must be above 1 .* use gaussian"):
        build(4, 32, spread=spread)
