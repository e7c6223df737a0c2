import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.config.distribution_matching import build_sampler
from ncfm.config.schema import FrequenciesConfig, make_config
from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.frequencies import SAMPLERS as NAMED
from ncfm.discrepancy.frequencies import (
    DirectFrequencies,
    FrequencySampler,
    GaussianFrequencies,
    ScaleMixtureFrequencies,
    StudentTFrequencies,
    check_sampler,
)
from strategies import interval, normal, rng


def mixture(fixed_bandwidth):
    def build(d, k, **options):
        options = {"seed_generator": rng(0), "fixed_bandwidth": fixed_bandwidth, **options}
        return ScaleMixtureFrequencies(d, k, **options)

    return build


def direct(fixed_bandwidth):
    def build(d, k, **options):
        return DirectFrequencies(d, k, **{"seed_generator": rng(0), "fixed_bandwidth": fixed_bandwidth} | options)

    return build


# Every sampler, as a function of (num_features, num_frequencies, **options).
SAMPLERS = {
    "gaussian": GaussianFrequencies,
    "student": StudentTFrequencies,
    "mixture": mixture(False),
    "mixture-fixed-bandwidth": mixture(True),
    "direct": direct(False),
    "direct-fixed-bandwidth": direct(True),
}
MIXTURES = {name: build for name, build in SAMPLERS.items() if name.startswith("mixture")}
DIRECT = {name: build for name, build in SAMPLERS.items() if name.startswith("direct")}
LEARNED = MIXTURES | DIRECT
NEAR_GAUSSIAN = {name: build for name, build in SAMPLERS.items() if name != "student"}
every_sampler = pytest.mark.parametrize("build", SAMPLERS.values(), ids=SAMPLERS.keys())
every_mixture = pytest.mark.parametrize("build", MIXTURES.values(), ids=MIXTURES.keys())
every_direct = pytest.mark.parametrize("build", DIRECT.values(), ids=DIRECT.keys())
every_learned = pytest.mark.parametrize("build", LEARNED.values(), ids=LEARNED.keys())
every_near_gaussian = pytest.mark.parametrize("build", NEAR_GAUSSIAN.values(), ids=NEAR_GAUSSIAN.keys())


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
        "ncfm.discrepancy.frequencies._normal", lambda rows, columns, generator, like: torch.zeros(rows, columns)
    )
    sampler = build(3, 5)
    t = sampler.sample(rng(1))
    t.sum().backward()
    assert float(t.detach().abs().max()) == 0
    assert all(bool(p.grad.isfinite().all()) for p in sampler.parameters())


# ---------------------------------------------------------------- heavy tails


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
    monkeypatch.setattr("ncfm.discrepancy.frequencies._normal", lambda rows, columns, generator, like: draws[columns])
    t = StudentTFrequencies(3, 5, degrees_of_freedom=1).sample(rng(1))
    assert bool(t.isfinite().all())
    assert float(t.min()) > 1e3


@pytest.mark.parametrize("degrees", [0, -1])
def test_no_degrees_of_freedom(degrees):
    with pytest.raises(NcfmError, match=f"degrees_of_freedom must be at least 1, got {degrees}"):
        StudentTFrequencies(4, 32, degrees_of_freedom=degrees)


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
