import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm._utils.types import Phi
from ncfm.discrepancy import (
    ROOT_EPSILON,
    amplitude_gap,
    characteristic,
    characteristic_function,
    covariance_gap,
    gaussian_mmd,
    mean_gap,
    median_bandwidth,
    modulus,
    ncfd,
    ncfd_from_phi,
    paired_gap,
    phase_gap,
    root_mean_gap,
    squared_distances,
)
from oracles import (
    amplitude_loop,
    characteristic_function_loop,
    covariance_gap_loop,
    gaussian_mmd_loop,
    mean_gap_loop,
    median_distance_loop,
    ncfd_loop,
    paired_gap_loop,
    phase_loop,
    root_mean_gap_loop,
    squared_distance,
)
from strategies import (
    AMPLITUDE_WEIGHTS,
    amplitude_weights,
    exact_problems,
    gaussian_samples,
    interval,
    normal,
    properties,
    rng,
    samples,
    two_diracs,
)

# Every discrepancy of two samples at given frequencies, as a function of (x, y, t).
DISCREPANCIES = {
    **{f"ncfd-{w}": lambda x, y, t, w=w: ncfd(x, y, t, amplitude_weight=w) for w in AMPLITUDE_WEIGHTS},
    "ncfd-corrected": lambda x, y, t: ncfd(x, y, t, corrected=True),
    "ncfd-chunked": lambda x, y, t: ncfd(x, y, t, chunk_size=2),
    "root_mean_gap": root_mean_gap,
    "gaussian_mmd": lambda x, y, t: gaussian_mmd(x, y, bandwidth=0.8),
    "gaussian_mmd-several": lambda x, y, t: gaussian_mmd(x, y, bandwidth=[0.8, 2.0]),
    "gaussian_mmd-products": lambda x, y, t: gaussian_mmd(x, y, bandwidth=0.8, exact=False),
    "gaussian_mmd-median": lambda x, y, t: gaussian_mmd(x, y, bandwidth=median_bandwidth(x, y)[..., None]),
    "mean_gap": lambda x, y, t: mean_gap(x, y),
    "covariance_gap": lambda x, y, t: covariance_gap(x, y),
}
every_discrepancy = pytest.mark.parametrize("discrepancy", DISCREPANCIES.values(), ids=DISCREPANCIES.keys())
# With those of samples whose rows are in order.
COMPARISONS = {**DISCREPANCIES, "paired_gap": lambda x, y, t: paired_gap(x, y)}
every_comparison = pytest.mark.parametrize("discrepancy", COMPARISONS.values(), ids=COMPARISONS.keys())


def phis(x, y, t):
    return characteristic_function(x, t), characteristic_function(y, t)


def squared_gap(phi_x, phi_y):
    return (phi_x.real - phi_y.real) ** 2 + (phi_x.imag - phi_y.imag) ** 2


# ---------------------------------------------------------------- against slow references


@properties
@given(samples(groups=((),)))
def test_characteristic_function_equals_the_loop(s):
    phi = characteristic_function(s.x, s.t)
    slow = characteristic_function_loop(s.x, s.t)
    assert_close(phi.real.tolist(), [z.real for z in slow], atol=1e-12, rtol=0)
    assert_close(phi.imag.tolist(), [z.imag for z in slow], atol=1e-12, rtol=0)


@properties
@given(samples(groups=((),)))
def test_gaps_equal_the_loop(s):
    slow_x, slow_y = characteristic_function_loop(s.x, s.t), characteristic_function_loop(s.y, s.t)
    amplitude = [amplitude_loop(a, b) for a, b in zip(slow_x, slow_y, strict=True)]
    phase = [phase_loop(a, b) for a, b in zip(slow_x, slow_y, strict=True)]
    # The smoothing of a modulus at 0 moves it by at most 1e-6.
    assert_close(amplitude_gap(*phis(*s)).tolist(), amplitude, atol=4e-6, rtol=0)
    assert_close(phase_gap(*phis(*s)).tolist(), phase, atol=4e-6, rtol=0)


@properties
@given(samples(groups=((),)), amplitude_weights, st.sampled_from([0.0, 1e-8, 1e-2]), st.booleans())
def test_ncfd_equals_the_loop(s, alpha, epsilon, corrected):
    value = ncfd(*s, amplitude_weight=alpha, epsilon=epsilon, corrected=corrected)
    slow = ncfd_loop(*s, alpha, epsilon, corrected)
    # 1e-6 in a modulus is 1e-6 in the root of the amplitude gap; the root of the phase gap may move by the
    # root of that where a modulus is 0, which a random sample does not reach.
    assert float(value) == pytest.approx(slow, abs=1e-5)


@properties
@given(samples(groups=((),)), st.sampled_from([0.3, 1.0, 10.0]), st.booleans())
def test_gaussian_mmd_equals_the_loop(s, bandwidth, exact):
    slow = gaussian_mmd_loop(s.x, s.y, bandwidth)
    tensors = [torch.full(shape, bandwidth, dtype=torch.float64) for shape in ((), (1,))]
    for given_ in (bandwidth, [bandwidth], *tensors):
        value = float(gaussian_mmd(s.x, s.y, bandwidth=given_, exact=exact))
        assert value == pytest.approx(slow, abs=1e-12)


@properties
@given(samples(groups=((),)), st.booleans())
def test_several_bandwidths_are_averaged(s, exact):
    slow = sum(gaussian_mmd_loop(s.x, s.y, bandwidth) for bandwidth in (0.3, 1.0, 4.0)) / 3
    for given_ in ([0.3, 1.0, 4.0], (4.0, 0.3, 1.0), torch.tensor([1.0, 4.0, 0.3], dtype=torch.float64)):
        assert float(gaussian_mmd(s.x, s.y, bandwidth=given_, exact=exact)) == pytest.approx(slow, abs=1e-12)


def test_bandwidths_of_each_group():
    x, y = normal(0, 2, 3, 5, 2), normal(1, 2, 3, 4, 2)
    bandwidths = 0.5 + normal(2, 2, 3, 2).abs()
    value = gaussian_mmd(x, y, bandwidth=bandwidths)
    for i in range(2):
        for j in range(3):
            slow = sum(gaussian_mmd_loop(x[i, j], y[i, j], float(s)) for s in bandwidths[i, j]) / 2
            assert float(value[i, j]) == pytest.approx(slow, abs=1e-12)


@properties
@given(samples(groups=((),)), st.booleans())
def test_squared_distances_equal_the_loop(s, exact):
    slow = [[squared_distance(a, b) for b in s.y.tolist()] for a in s.x.tolist()]
    assert_close(squared_distances(s.x, s.y, exact=exact), torch.tensor(slow, dtype=torch.float64), atol=1e-12, rtol=0)


@properties
@given(samples(groups=((),)))
def test_median_bandwidth_equals_the_loop(s):
    # One row on each side is one pair; 3 and 4 rows are 21 pairs, 2 and 2 rows 6, an even number.
    assert float(median_bandwidth(s.x, s.y)) == pytest.approx(median_distance_loop(s.x, s.y), abs=1e-12)


@properties
@given(samples(groups=((),)))
def test_paired_gap_equals_the_loop(s):
    assert float(paired_gap(s.x, s.y)) == pytest.approx(paired_gap_loop(s.x, s.y), abs=1e-12)


@properties
@given(samples(groups=((),)))
def test_mean_and_covariance_gap_equal_the_loop(s):
    assert float(mean_gap(s.x, s.y)) == pytest.approx(mean_gap_loop(s.x, s.y), abs=1e-12)
    assert float(covariance_gap(s.x, s.y)) == pytest.approx(covariance_gap_loop(s.x, s.y), abs=1e-12)


@pytest.mark.parametrize(("n", "m", "d"), [(6, 3, 2), (3, 6, 2), (6, 3, 20), (3, 6, 20), (1, 4, 20), (4, 1, 2)])
def test_covariance_gap_equals_the_loop_whatever_is_cheaper(n, m, d):
    x, y = normal(0, n, d), 1 + 2 * normal(1, m, d)
    assert float(covariance_gap(x, y)) == pytest.approx(covariance_gap_loop(x, y), rel=1e-12)


@properties
@given(samples(groups=((),)))
def test_root_mean_gap_equals_the_loop(s):
    assert float(root_mean_gap(*s)) == pytest.approx(root_mean_gap_loop(*s), abs=1e-12)


def test_mean_gap_by_hand():
    x, y = torch.tensor([[0.0, 0.0], [2.0, 4.0]]), torch.tensor([[4.0, 3.0]])
    assert float(mean_gap(x, y)) == 3**2 + 1**2  # means (1, 2) and (4, 3)


def test_paired_gap_by_hand():
    x, y = torch.tensor([[0.0, 0.0], [2.0, 4.0]]), torch.tensor([[4.0, 3.0], [2.0, 0.0], [1.0, 1.0]])
    assert float(paired_gap(x, y)) == pytest.approx((25 + 16 + 2) / 3)  # the third row is paired with the first again
    assert float(paired_gap(y, x)) == (25 + 16) / 2  # the third row has no partner


@pytest.mark.parametrize("pad", [0, 20])
def test_covariance_gap_by_hand(pad):
    # Covariances (1, 2; 2, 4) and (0, 0; 0, 9); 20 columns of zeros leave the gap and take the other way to it.
    x, y = torch.tensor([[0.0, 0.0], [2.0, 4.0]]), torch.tensor([[4.0, 3.0], [4.0, -3.0]])
    x, y = (torch.nn.functional.pad(z, (0, pad)) for z in (x, y))
    assert float(covariance_gap(x, y)) == pytest.approx(1 + 2 * 4 + 25)


def test_median_bandwidth_by_hand():
    x, y = torch.tensor([[0.0], [1.0]]), torch.tensor([[4.0], [10.0]])  # 1, 4, 10, 3, 9 and 6 apart
    value = median_bandwidth(torch.stack([x, 3 * x]), torch.stack([y, 3 * y]))
    assert value.tolist() == [4.0, 12.0]  # the lower of 4 and 6, of each group
    x, y = torch.zeros(5, 1), torch.ones(1, 1)  # of 15 distances 10 are 0 and 5 are 1
    assert float(median_bandwidth(x, y)) == pytest.approx(1e-3 * math.sqrt(1 / 3))
    assert float(median_bandwidth(0.1 + x, 0.1 + x)) == 1.0


# ---------------------------------------------------------------- exact answers


@properties
@given(exact_problems)
def test_gaps_are_the_exact_ones(p):
    assert_close(amplitude_gap(*phis(p.x, p.y, p.t)), p.amplitude, atol=4e-6, rtol=0)
    assert_close(phase_gap(*phis(p.x, p.y, p.t)), p.phase, atol=4e-6, rtol=0)


@properties
@given(exact_problems, amplitude_weights)
def test_ncfd_is_the_exact_one(p, alpha):
    gap = alpha * p.amplitude + (1 - alpha) * p.phase
    exact = (torch.sqrt(gap + ROOT_EPSILON) - math.sqrt(ROOT_EPSILON)).mean()
    assert_close(ncfd(p.x, p.y, p.t, amplitude_weight=alpha), exact, atol=1e-5, rtol=0)


@properties
@given(two_diracs(), st.booleans())
def test_kernel_mmd_of_two_diracs(p, exact):
    distance = (p.x[0] - p.y[0]).square().sum()
    expected = 2 - 2 * torch.exp(-distance / (2 * 0.7**2))
    assert_close(gaussian_mmd(p.x, p.y, bandwidth=0.7, exact=exact), expected, atol=1e-12, rtol=0)


@properties
@given(two_diracs())
def test_other_gaps_of_two_diracs(p):
    distance = (p.x[0] - p.y[0]).square().sum()
    assert_close(mean_gap(p.x, p.y), distance, atol=1e-12, rtol=0)
    assert_close(paired_gap(p.x, p.y), distance, atol=1e-12, rtol=0)
    assert float(covariance_gap(p.x, p.y)) == pytest.approx(0, abs=1e-24)


@properties
@given(samples(), st.sampled_from([0.0, 0.5, 3.0]))
def test_covariance_gap_of_scaled_and_shifted_copies(s, scale):
    # S_y = scale^2 S_x, so the gap is (1 - scale^2)^2 |S_x|^2; and |S_x|^2 is the gap from a single point.
    norm = covariance_gap(s.x, s.y[..., :1, :])
    value = covariance_gap(s.x, 7 + scale * s.x)
    assert_close(value, (1 - scale**2) ** 2 * norm, atol=1e-9, rtol=1e-9)


# ---------------------------------------------------------------- identities


@pytest.mark.parametrize("bandwidth", [0.5, 1.0, 2.0])
def test_bochner_mean_gap_is_the_kernel_mmd(bandwidth):
    x, y = normal(0, 6, 3), 0.5 + 0.7 * normal(1, 4, 3)
    t = normal(2, 50_000, 3) / bandwidth
    mean, error = interval(squared_gap(*phis(x, y, t)))  # error: of the Monte Carlo mean over the frequencies
    mmd = gaussian_mmd(x, y, bandwidth=bandwidth)
    assert abs(mean - mmd) < error
    assert error < 0.05 * mmd  # else the line above would prove little
    assert_close(root_mean_gap(x, y, t) ** 2, mean)


@properties
@given(samples())
def test_amplitude_and_phase_make_the_squared_gap(s):
    phi_x, phi_y = phis(*s)
    total = amplitude_gap(phi_x, phi_y) + phase_gap(phi_x, phi_y)
    assert_close(total, squared_gap(phi_x, phi_y), atol=1e-12, rtol=0)


@properties
@given(samples())
def test_half_weight_is_the_distance_of_the_functions(s):
    distance = squared_gap(*phis(*s)).sqrt().mean(-1) / math.sqrt(2)
    assert_close(ncfd(*s, epsilon=0.0), distance, atol=1e-7, rtol=0)


@properties
@given(samples())
def test_a_weight_of_0_or_1_leaves_one_term(s):
    phi_x, phi_y = phis(*s)
    amplitude, phase = amplitude_gap(phi_x, phi_y).sqrt(), phase_gap(phi_x, phi_y).sqrt()
    assert_close(ncfd(*s, amplitude_weight=1.0, epsilon=0.0), amplitude.mean(-1), atol=1e-12, rtol=0)
    assert_close(ncfd(*s, amplitude_weight=0.0, epsilon=0.0), phase.mean(-1), atol=1e-12, rtol=0)


@properties
@given(samples(), amplitude_weights)
def test_ncfd_from_phi_is_ncfd(s, alpha):
    assert_close(ncfd_from_phi(*phis(*s), amplitude_weight=alpha), ncfd(*s, amplitude_weight=alpha))


@properties
@given(samples(groups=((),)))
def test_translating_both_samples_turns_only_the_phases(s):
    v = normal(7, s.x.shape[-1])
    before, after = characteristic_function(s.x, s.t), characteristic_function(s.x + v, s.t)
    turn = torch.exp(1j * (s.t @ v))
    expected = torch.complex(before.real, before.imag) * turn
    assert_close(torch.complex(after.real, after.imag), expected, atol=1e-12, rtol=0)
    for weight in AMPLITUDE_WEIGHTS:
        moved = ncfd(s.x + v, s.y + v, s.t, amplitude_weight=weight)
        assert_close(moved, ncfd(*s, amplitude_weight=weight), atol=1e-7, rtol=0)


@properties
@given(samples(groups=((),)))
def test_translating_one_sample_leaves_the_amplitudes(s):
    moved = characteristic_function(s.x + normal(7, s.x.shape[-1]), s.t)
    still = characteristic_function(s.x, s.t)
    assert_close(amplitude_gap(still, moved), torch.zeros(len(s.t)).double(), atol=1e-12, rtol=0)
    assert_close(ncfd(s.x, s.x + 1.0, s.t, amplitude_weight=1.0).item(), 0.0, atol=1e-10, rtol=0)


@properties
@given(samples(groups=((),), min_rows=2))
def test_random_pairs_are_the_spread_of_both_and_the_gap_of_the_means(s):
    # Over all n shifts of the pairing, with m = n: E |y - x|^2 = tr S_x + tr S_y + |mean x - mean y|^2.
    n = min(len(s.x), len(s.y))
    x, y = s.x[:n], s.y[:n]
    expected = sum(z.var(0, correction=0).sum() for z in (x, y)) + mean_gap(x, y)
    assert_close(sum(paired_gap(x.roll(i, 0), y) for i in range(n)) / n, expected, atol=1e-12, rtol=1e-12)


@properties
@given(samples())
def test_median_bandwidth_goes_with_the_scale_and_not_with_the_place(s):
    value = median_bandwidth(s.x, s.y)
    assert value.shape == s.x.shape[:-2]
    assert_close(median_bandwidth(3 * s.x + 5, 3 * s.y + 5), 3 * value, atol=1e-7, rtol=0)
    assert_close(median_bandwidth(s.y.flip(-2), s.x), value, atol=1e-7, rtol=0)


# ---------------------------------------------------------------- properties of every discrepancy


@every_discrepancy
@properties
@given(samples())
def test_symmetric(discrepancy, s):
    assert_close(discrepancy(s.x, s.y, s.t), discrepancy(s.y, s.x, s.t), atol=1e-9, rtol=0)


@every_comparison
@properties
@given(samples())
def test_never_negative_and_a_value_a_group(discrepancy, s):
    value = discrepancy(*s)
    assert value.shape == s.x.shape[:-2]
    assert bool((value >= -1e-12).all())


@every_discrepancy
@properties
@given(samples())
def test_zero_for_the_same_sample(discrepancy, s):
    zero = torch.zeros(s.x.shape[:-2]).double()
    # A squared gap is exact to 1e-15, so a plain root of it (root_mean_gap) to 3e-8.
    assert_close(discrepancy(s.x, s.x.flip(-2), s.t), zero, atol=1e-7, rtol=0)


@every_comparison
def test_positive_for_different_samples(discrepancy):
    # x and y differ both in location and in spread.
    assert float(discrepancy(normal(0, 20, 3), 1 + 2 * normal(1, 20, 3), normal(2, 8, 3))) > 0.1


@every_discrepancy
@properties
@given(samples(groups=((),)))
def test_order_of_the_rows_does_not_matter(discrepancy, s):
    x, y = (z[torch.randperm(len(z), generator=rng(5))] for z in (s.x, s.y))
    t = s.t[torch.randperm(len(s.t), generator=rng(6))]
    assert_close(discrepancy(x, y, t), discrepancy(*s), atol=1e-7, rtol=0)


@every_comparison
@properties
@given(samples(groups=((2,), (2, 3))))
def test_groups_equal_one_by_one(discrepancy, s):
    d = s.x.shape[-1]
    groups_x, groups_y = (z.reshape(-1, z.shape[-2], d) for z in (s.x, s.y))
    one_by_one = [discrepancy(x, y, s.t) for x, y in zip(groups_x, groups_y, strict=True)]
    assert_close(discrepancy(*s).flatten(), torch.stack(one_by_one), atol=1e-9, rtol=0)


@properties
@given(samples())
def test_triangle_inequality(s):
    z = 2 * normal(3, *s.x.shape[:-2], 3, s.x.shape[-1])
    for distance in (root_mean_gap, lambda a, b, t: ncfd(a, b, t, amplitude_weight=0.5, epsilon=0.0)):
        detour = distance(s.x, z, s.t) + distance(z, s.y, s.t)
        assert bool((distance(*s) <= detour + 1e-7).all())  # 1e-7: the root of a rounding error


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 0.8, 0.9, 1.0])
def test_upper_bound_is_reached_and_kept(alpha):
    # alpha (a - b)^2 + (1 - alpha) 4 a b over moduli a, b in [0, 1] is largest in a corner: at a = b = 1
    # (opposite diracs) it is 4 (1 - alpha), at a = 1, b = 0 (a dirac and a balanced pair) it is alpha.
    bound = max(math.sqrt(alpha), 2 * math.sqrt(1 - alpha))
    zero, pi = torch.zeros(1, 1).double(), torch.tensor([[math.pi]]).double()
    t = torch.ones(1, 1).double()
    opposite = ncfd(zero, pi, t, amplitude_weight=alpha, epsilon=0.0)
    balanced = ncfd(zero, torch.cat([zero, pi]), t, amplitude_weight=alpha, epsilon=0.0)
    assert float(opposite) == pytest.approx(2 * math.sqrt(1 - alpha), abs=1e-5)
    # The smoothed modulus of the pair is 1e-6, and the phase gap has the root of that.
    assert float(balanced) == pytest.approx(math.sqrt(alpha), abs=2e-3)
    x, y, t = normal(0, 5000, 2, 1), normal(1, 5000, 1, 1), 2 * normal(2, 1, 1)
    assert float(ncfd(x, y, t, amplitude_weight=alpha).max()) <= bound + 1e-5


# ---------------------------------------------------------------- rates and biases of finite samples


def test_empirical_characteristic_function_converges_at_rate_one_half():
    sizes = [16, 64, 256, 1024]
    errors = []
    for n in sizes:
        x, t, exact = gaussian_samples(n, repeats=100, n=n, d=2, k=16)
        phi = characteristic_function(x, t)
        errors.append(((phi.real - exact) ** 2 + phi.imag**2).mean())
        # Variance of a mean of n unit vectors: E |Phi_n - Phi|^2 = (1 - |Phi|^2) / n. 100 repeats of 16
        # partly dependent frequencies give it to about 5 %.
        assert float(errors[-1] / ((1 - exact**2).mean() / n)) == pytest.approx(1, abs=0.2)
    log_n, log_error = torch.log(torch.tensor(sizes).double()), torch.log(torch.stack(errors)) / 2
    log_n, log_error = log_n - log_n.mean(), log_error - log_error.mean()
    slope = (log_n * log_error).sum() / log_n.square().sum()  # least squares
    # 2.5 % in each root-mean-square error over 4 points, log 4 apart, is 0.008 in the slope; 4 times that.
    assert float(slope) == pytest.approx(-0.5, abs=0.032)


@pytest.mark.parametrize("n", [3, 10])
def test_corrected_modulus_has_no_bias(n):
    x, _, _ = gaussian_samples(n, repeats=20_000, n=n, d=1, k=1)
    t = torch.tensor([[0.25]]).double()  # low enough that the cut-off at 0 is never reached
    square = math.exp(-(0.25**2))  # |Phi|^2 of a standard normal
    phi = characteristic_function(x, t)
    assert float(modulus(phi, n).min()) > 1e-3
    mean, error = interval(modulus(phi, n).square().flatten())
    assert abs(float(mean) - square) < error
    plain, plain_error = interval(modulus(phi).square().flatten())
    assert abs(float(plain) - (square + (1 - square) / n)) < plain_error
    assert float(plain) - square > 2 * error  # the bias is there to be seen


def test_corrected_modulus_is_cut_off_at_zero_and_needs_two_rows():
    balanced = Phi(torch.zeros(1), torch.zeros(1))
    assert float(modulus(balanced, 4)) == pytest.approx(0, abs=2e-6)
    whole = Phi(torch.ones(1), torch.zeros(1))
    assert float(modulus(whole, 4)) == pytest.approx(1)
    assert float(modulus(whole, 1)) == pytest.approx(1)  # one row: nothing to correct by


def test_correction_takes_the_sample_size_out_of_the_amplitude_gap():
    # Mean square moduli at |t| = 1 are e^-1 = .37 for any number of rows if corrected, else .37 + .63 / n.
    few, many = normal(0, 20_000, 3, 1), normal(1, 2_000, 200, 1)
    t = torch.tensor([[1.0]]).double()
    small, large = characteristic_function(few, t), characteristic_function(many, t)
    for sizes, expected in [((None, None), 0.632 / 3 - 0.632 / 200), ((3, 200), 0.0)]:
        squares = [modulus(p, n).square().mean() for p, n in zip((small, large), sizes, strict=True)]
        # The cut-off at 0 lifts the corrected square of 3 rows by .05, a quarter of what is taken away.
        assert float(squares[0] - squares[1]) == pytest.approx(expected, abs=0.07)


# ---------------------------------------------------------------- gradients


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("options", [{}, {"corrected": True}, {"chunk_size": 2}])
def test_gradients_of_ncfd(alpha, options):
    x, y, t = (z.requires_grad_() for z in (normal(0, 2, 4, 3), normal(1, 2, 3, 3), normal(2, 5, 3)))
    assert torch.autograd.gradcheck(lambda *a: ncfd(*a, amplitude_weight=alpha, **options), (x, y, t))


@pytest.mark.parametrize("gap", [amplitude_gap, phase_gap])
def test_gradients_of_the_gaps(gap):
    x, y, t = (z.requires_grad_() for z in (normal(0, 4, 3), normal(1, 3, 3), normal(2, 5, 3)))
    assert torch.autograd.gradcheck(lambda *a: gap(*phis(*a)), (x, y, t))


@pytest.mark.parametrize("name", [name for name in COMPARISONS if not name.startswith(("ncfd", "gaussian_mmd-median"))])
@pytest.mark.parametrize("d", [3, 12])  # narrower and wider than there are rows
def test_gradients_of_the_others(name, d):
    x, y = normal(0, 2, 4, d).requires_grad_(), normal(1, 2, 3, d).requires_grad_()
    t = normal(2, 5, d)
    assert torch.autograd.gradcheck(lambda a, b: COMPARISONS[name](a, b, t), (x, y))


@pytest.mark.parametrize("exact", [True, False])
def test_gradients_where_rows_coincide(exact):
    # Two rows of y lie on rows of x, two more on each other; there the slope of a distance is not defined.
    x, y = normal(0, 4, 3), normal(1, 5, 3)
    y[:2], y[3] = x[:2], y[2]
    x, y = x.requires_grad_(), y.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: gaussian_mmd(a, b, bandwidth=0.8, exact=exact), (x, y))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("exact", [True, False])
def test_no_gradient_of_the_kernel_where_all_rows_coincide(exact, dtype):
    x, y = (torch.full((n, 3), 0.1, dtype=dtype, requires_grad=True) for n in (5, 4))
    value = gaussian_mmd(x, y, bandwidth=0.8, exact=exact)
    value.backward()
    assert float(value.detach()) == 0
    assert float(x.grad.abs().max()) == float(y.grad.abs().max()) == 0


def test_the_median_heuristic_is_not_differentiated():
    x, y = normal(0, 2, 6, 3), normal(1, 2, 4, 3).requires_grad_()
    median = median_bandwidth(x, y)
    assert not median.requires_grad
    given_ = torch.autograd.grad(gaussian_mmd(x, y, bandwidth=median[:, None]).sum(), y)[0]
    numbers = [torch.autograd.grad(gaussian_mmd(x[i], y[i], bandwidth=float(median[i])), y)[0] for i in range(2)]
    assert_close(given_, sum(numbers))


def test_gradients_in_the_bandwidths():
    x, y, s = normal(0, 2, 4, 3), normal(1, 2, 3, 3), (1 + normal(2, 2, 2).abs()).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: gaussian_mmd(x, y, bandwidth=s, exact=False), (s,))


@pytest.mark.parametrize("alpha", AMPLITUDE_WEIGHTS)
@pytest.mark.parametrize("corrected", [False, True])
def test_gradients_stay_finite_where_the_samples_agree(alpha, corrected):
    x, t = normal(0, 3, 8, 4).float(), normal(1, 32, 4).float().requires_grad_()
    y = x.clone().requires_grad_()
    ncfd(x, y, t, amplitude_weight=alpha, corrected=corrected).sum().backward()
    assert bool(y.grad.isfinite().all())
    assert bool(t.grad.isfinite().all())
    # The slope of the root is at most 5000; what it multiplies is rounding noise (1e-7), not a gap.
    assert float(y.grad.abs().max()) < 1


@pytest.mark.parametrize("alpha", AMPLITUDE_WEIGHTS)
@pytest.mark.parametrize("corrected", [False, True])
def test_gradients_stay_finite_where_a_modulus_is_zero(alpha, corrected):
    x = torch.zeros(2, 1)
    y = torch.tensor([[0.0], [math.pi]], requires_grad=True)  # Phi_y = 0 at t = 1
    ncfd(x, y, torch.ones(1, 1), amplitude_weight=alpha, corrected=corrected).backward()
    assert bool(y.grad.isfinite().all())
    zero = Phi(torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True))
    ncfd_from_phi(zero, zero, amplitude_weight=alpha).backward()
    assert float(zero.real.grad.abs().max()) == 0.0


@pytest.mark.parametrize("alpha", AMPLITUDE_WEIGHTS)
@pytest.mark.parametrize("chunk_size", [1, 3, 7, 100])
def test_chunks_equal_the_whole_in_value_and_gradient(alpha, chunk_size):
    inputs = normal(0, 2, 7, 3), normal(1, 2, 5, 3), normal(2, 6, 3)
    results = []
    for size in (None, chunk_size):
        x, y, t = (z.clone().requires_grad_() for z in inputs)
        value = ncfd(x, y, t, amplitude_weight=alpha, chunk_size=size)
        results.append((value, *torch.autograd.grad(value.sum(), (x, y, t))))
    for whole, chunked in zip(*results, strict=True):
        assert_close(chunked, whole, atol=1e-10, rtol=1e-9)


def test_gradient_rows_leave_the_value_and_estimate_the_gradient_without_bias():
    x, y, t = normal(0, 2, 12, 3), normal(1, 2, 5, 3), normal(2, 6, 3).requires_grad_()

    def value_and_gradient(rows, **options):
        value = ncfd(rows, y, t, **options)
        return value, torch.autograd.grad(value.sum(), t)[0]

    value, gradient = value_and_gradient(x)
    # Each third of the rows once in front: the mean of the estimates is the gradient.
    estimates = [value_and_gradient(x.roll(-shift, dims=1), gradient_rows=4) for shift in (0, 4, 8)]
    for estimate, _ in estimates:
        assert_close(estimate, value)
    assert_close(torch.stack([g for _, g in estimates]).mean(0), gradient)
    assert not torch.allclose(estimates[0][1], gradient, rtol=1e-3)
    assert_close(value_and_gradient(x, gradient_rows=12), (value, gradient))
    with pytest.raises(NcfmError, match="gradient_rows"):
        ncfd(x, y, t, gradient_rows=0)


def test_by_default_no_more_projections_are_held_than_allowed(monkeypatch):
    x, t = normal(0, 2, 50, 3), normal(2, 6, 3)
    whole = characteristic_function(x, t)
    monkeypatch.setattr(characteristic, "MAX_PROJECTIONS", 2 * 6 * 7)  # 7 of the 50 rows
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda saved: kept.append(saved.numel()) or saved, lambda saved: saved
    ):
        chunked = characteristic_function(x.requires_grad_(), t.requires_grad_())
    assert_close(chunked.real, whole.real)
    assert_close(chunked.imag, whole.imag)
    assert max(kept) <= x.numel()  # of 2 * 50 * 6 projections none is kept


def test_single_precision_agrees_with_double():
    x, y, t = normal(0, 50, 8), 0.2 + normal(1, 40, 8), normal(2, 64, 8)
    for alpha in AMPLITUDE_WEIGHTS:
        value = ncfd(x.float(), y.float(), t.float(), amplitude_weight=alpha)
        assert value.dtype == torch.float32
        assert float(value) == pytest.approx(float(ncfd(x, y, t, amplitude_weight=alpha)), rel=1e-4)


@pytest.mark.parametrize("shift", [0.0, 1e-5, 1e-4])
def test_small_phase_gaps_survive_single_precision(shift):
    # Normalised features, so that moduli are near 1 and a small gap is a small difference of large numbers.
    x = torch.nn.functional.normalize(normal(0, 64, 16), dim=-1).float()
    y, t = x + shift, normal(1, 256, 16).float()
    exact = float(phase_gap(*phis(x.double(), y.double(), t.double())).mean())
    assert float(phase_gap(*phis(x, y, t)).mean()) == pytest.approx(exact, rel=1e-2, abs=1e-12)


@pytest.mark.parametrize("place", [0.0, 1000.0])
@pytest.mark.parametrize("d", [3, 100, 1000])
def test_distances_from_products_are_right_to_roundings_of_the_largest(place, d):
    x, y = ((place + torch.nn.functional.normalize(normal(i, 3, 40, d), dim=-1)).float() for i in (0, 1))
    right = squared_distances(x.double(), y.double())
    bound = 16 * torch.finfo(torch.float32).eps * float(right.max())
    assert_close(squared_distances(x, y, exact=False).double(), right, atol=bound, rtol=0)
    assert float(squared_distances(x, x, exact=False).min()) >= 0
    assert_close(squared_distances(x, y).double(), right, atol=0, rtol=1e-5)


def test_kernel_mmd_from_products_survives_single_precision(monkeypatch):
    # Two samples of one distribution, so that the discrepancy is a small difference of means of kernels.
    x, y = (torch.nn.functional.normalize(normal(i, 3, 60, 500), dim=-1) for i in (0, 1))
    right = gaussian_mmd(x, y, bandwidth=1.0)
    assert float(right.max()) < 0.03
    monkeypatch.delattr(torch, "cdist")  # the slow way
    assert_close(gaussian_mmd(x.float(), y.float(), bandwidth=1.0, exact=False).double(), right, atol=1e-6, rtol=0)


def test_covariance_gap_forms_neither_large_matrix():
    # 100,000 squared are 80 GB: of so many features there are only products of rows, of so many rows only of features.
    wide, long = normal(0, 2, 100_000), normal(1, 100_000, 2)
    half = (wide[0] - wide[1]).square().sum() / 4  # the one direction of spread of two rows
    assert float(covariance_gap(wide, wide[:1])) == pytest.approx(float(half**2))
    assert float(covariance_gap(long, long[:1])) == pytest.approx(2, abs=0.1)


# ---------------------------------------------------------------- errors


@every_comparison
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((4, 3), (4, 2), r"\(4, 3\) and \(4, 2\)"),
        ((2, 4, 3), (3, 4, 3), r"\(2, 4, 3\) and \(3, 4, 3\)"),
        ((3,), (3,), r"\(\.\.\., n, d\) and \(\.\.\., m, d\)"),
        ((0, 3), (4, 3), "at least one row"),
        ((4, 3), (0, 3), "at least one row"),
    ],
    ids=["width", "groups", "no rows axis", "empty x", "empty y"],
)
def test_shapes_that_do_not_fit(discrepancy, x, y, message):
    with pytest.raises(NcfmError, match=message):
        discrepancy(torch.zeros(x), torch.zeros(y), torch.ones(5, 3))


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_weight_outside_the_unit_interval(alpha):
    with pytest.raises(NcfmError, match=r"amplitude_weight must lie in \[0, 1\], got"):
        ncfd(torch.ones(2, 3), torch.ones(2, 3), torch.ones(5, 3), amplitude_weight=alpha)


def test_frequencies_of_another_width():
    with pytest.raises(NcfmError, match=r"one width d, got 3 and 4; build the sampler"):
        ncfd(torch.ones(2, 3), torch.ones(2, 3), torch.ones(5, 4))


@pytest.mark.parametrize("bandwidth", [0.0, -1.0, float("nan"), [1.0, 0.0], (1.0, float("nan"))])
def test_bandwidths_that_are_not_above_0(bandwidth):
    with pytest.raises(NcfmError, match="bandwidth must be above 0, got"):
        gaussian_mmd(torch.ones(2, 3), torch.ones(2, 3), bandwidth=bandwidth)


def test_no_bandwidth():
    with pytest.raises(NcfmError, match="number of bandwidths must be at least 1, got 0"):
        gaussian_mmd(torch.ones(2, 3), torch.ones(2, 3), bandwidth=[])


@pytest.mark.parametrize("shape", [(0,), (2, 0), (3, 1), (1, 1), (2, 3, 1)])
def test_bandwidths_of_other_groups(shape):
    with pytest.raises(NcfmError, match=r"Expected bandwidths of shape \(\), \(b,\) or \(2, 'b'\) for these groups"):
        gaussian_mmd(torch.ones(2, 4, 3), torch.ones(2, 5, 3), bandwidth=torch.ones(shape))
