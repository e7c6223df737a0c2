"""Properties of every sampler of frequencies, and their table."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from every_sampler import (
    every_near_gaussian,
    every_sampler,
)
from ncfm._utils.checks import NcfmError
from ncfm.config.distribution_matching import build_sampler
from ncfm.config.layers import make_config
from ncfm.config.schema import FrequenciesConfig
from ncfm.discrepancy.frequencies import SAMPLERS as NAMED
from ncfm.discrepancy.frequencies import (
    DirectFrequencies,
    FrequencySampler,
    GaussianFrequencies,
    ScaleMixtureFrequencies,
    StudentTFrequencies,
    check_sampler,
)
from strategies import rng


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
def test_goes_to_the_device_and_type_it_is_moved_to(build):
    t = build(4, 32).double().sample(rng(1))
    assert t.dtype == torch.float64
    assert_close(t.float(), build(4, 32).sample(rng(1)))
    assert build(4, 32).to("meta").sample(rng(1)).device.type == "meta"


@every_near_gaussian
def test_starts_near_the_gaussian_of_its_scale(build):
    d, k, scale = 6, 20_000, 2.0
    sampler = build(d, k, scale=scale)
    z = sampler.sample(rng(1)).detach().double() / scale
    covariance = z.T @ z / k
    # A sample covariance is off by sqrt(2 / k) = 0.01 on the diagonal, 0.007 beside it; a mixture's relative
    # scales start with a deviation of about 0.07 and their squares with a mean within 0.05 of 1, and a direct
    # draw is that of the Gaussian but for a fiftieth of its length.
    assert_close(covariance, torch.eye(d).double(), atol=0.1, rtol=0)
    assert float(z.mean(0).abs().max()) < 5 / math.sqrt(k)


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


# ---------------------------------------------------------------- from the configuration


def test_samplers_are_built_by_family_with_their_settings():
    kinds = {
        "mixture": ScaleMixtureFrequencies,
        "gaussian": GaussianFrequencies,
        "student": StudentTFrequencies,
        "direct": DirectFrequencies,
    }
    common = {"number": 24, "scale": 0.7, "spread": 2.0, "fixed_bandwidth": False, "degrees_of_freedom": 7}
    taken = {"spread": 2.0, "fixed_bandwidth": False, "degrees_of_freedom": 7}
    assert kinds == NAMED
    for family, kind in kinds.items():
        sampler = build_sampler(FrequenciesConfig(family=family, **common), 5, seed=0)
        assert type(sampler) is kind
        assert check_sampler(sampler, "mine:make", 5) is sampler
        assert (sampler.num_features, sampler.num_frequencies, sampler.scale) == (5, 24, 0.7)
        assert all(getattr(sampler, key) == value for key, value in taken.items() if hasattr(sampler, key))
    # A default written twice is one default.
    assert build_sampler(FrequenciesConfig(family="student"), 5, seed=0).degrees_of_freedom == 3
    assert StudentTFrequencies(5).degrees_of_freedom == 3


class Longer(GaussianFrequencies):
    """Fixed frequencies that every draw makes longer."""

    def __init__(self):
        super().__init__(5, 24)
        self.register_buffer("draws", torch.zeros(()))

    def sample(self, generator):
        self.draws += 1
        return super().sample(generator) * self.draws


def test_a_state_that_no_checkpoint_would_hold_is_refused():
    with pytest.raises(NcfmError, match="'mine:make' learns nothing, and its draws change its buffers"):
        check_sampler(Longer(), "mine:make", 5)


@pytest.mark.parametrize("family", ["mixture", "direct"])
def test_the_seed_of_the_run_is_that_of_the_adversary(family):
    one, same, other = (build_sampler(FrequenciesConfig(family=family), 5, seed) for seed in (0, 0, 1))
    assert torch.equal(one.weight_out, same.weight_out)
    assert not torch.equal(one.weight_out, other.weight_out)


@pytest.mark.parametrize(
    ("setting", "value"), [("degrees_of_freedom", 0), ("degrees_of_freedom", 2.5), ("family", "cauchy")]
)
def test_settings_out_of_range(setting, value):
    with pytest.raises(NcfmError, match=rf"frequencies\.{setting}"):
        make_config({"frequencies": {setting: value}})


@pytest.mark.parametrize("family", [ScaleMixtureFrequencies, DirectFrequencies])
def test_gradients_of_large_draws_are_the_same_bits_twice(family):
    """Large enough for several threads, which must not add up in the order in which they come."""
    sampler = family(2048, 1024, seed_generator=rng(0))

    def gradients():
        loss = sampler.sample(rng(1)).sin().sum()
        return torch.autograd.grad(loss, list(sampler.parameters()))

    threads = torch.get_num_threads()
    torch.set_num_threads(max(threads, 2))
    try:
        first = gradients()
        for _ in range(8):
            assert all(torch.equal(a, b) for a, b in zip(first, gradients(), strict=True))
    finally:
        torch.set_num_threads(threads)
