"""The two-sample test: exact under the hypothesis, and able to see what it should."""

import math

import pytest
import torch
from torch.testing import assert_close

from ncfm import NcfmError, two_sample_test
from ncfm.discrepancy import ncfd
from ncfm.discrepancy.frequencies import DirectFrequencies, GaussianFrequencies
from strategies import normal, rng

D = 3


def test_the_statistic_is_the_discrepancy():
    x, y, t = normal(0, 30, D), 0.5 + normal(1, 20, D), normal(2, 50, D)
    for alpha in (0.0, 0.3, 1.0):
        found = two_sample_test(x, y, frequencies=t, amplitude_weight=alpha, permutations=9)
        assert found.statistic == pytest.approx(float(ncfd(x, y, t, amplitude_weight=alpha)), abs=1e-12)


def test_permuted_statistics_are_the_discrepancies_of_shuffled_rows():
    x, y, t = normal(0, 6, D), 0.5 + normal(1, 4, D), normal(2, 7, D)
    found = two_sample_test(x, y, frequencies=t, permutations=5, generator=rng(3))
    draws, pooled = rng(3), torch.cat([x, y])
    for value in found.permuted:
        order = torch.randperm(10, generator=draws)
        assert float(value) == pytest.approx(float(ncfd(pooled[order[:6]], pooled[order[6:]], t)), abs=1e-12)


def test_the_p_value_counts_them():
    x, y = normal(0, 12, D), 0.6 + normal(1, 12, D)
    found = two_sample_test(x, y, permutations=199)
    reached = sum(float(value) >= found.statistic for value in found.permuted)
    assert found.p_value == (1 + reached) / 200
    assert found.permutations == len(found.permuted) == 199


def test_chunks_change_nothing(monkeypatch):
    x, y = normal(0, 12, D), 0.6 + normal(1, 9, D)
    whole = two_sample_test(x, y, permutations=40)
    monkeypatch.setattr(
        "ncfm.discrepancy.two_sample.MAX_PROJECTIONS", 300
    )  # 7 frequencies and 14 permutations at a time
    parts = two_sample_test(x, y, permutations=40)
    assert_close(parts.permuted, whole.permuted, rtol=0, atol=1e-12)
    assert parts.p_value == whole.p_value


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_the_level_holds_under_the_hypothesis(alpha):
    # P(p <= 5/100) is 5/100 exactly: of 200 tests 10 +- 3.1 reject. Chance leaves 1..22 once in some 3,000 times.
    p_values = torch.tensor(
        [
            two_sample_test(
                normal(2 * i, 12, 2),
                normal(2 * i + 1, 18, 2),
                amplitude_weight=alpha,
                num_frequencies=20,
                permutations=99,
                generator=rng(i),
            ).p_value
            for i in range(200)
        ]
    )
    assert 1 <= int((p_values <= 0.05).sum()) <= 22
    # All of them uniform on 1/100 .. 1: the mean has a deviation of 0.29 / sqrt(200) = 0.02.
    assert float(p_values.mean()) == pytest.approx(0.505, abs=0.08)


def powers(x, y):
    return [two_sample_test(x, y, amplitude_weight=w, permutations=199).p_value for w in (0.0, 0.5, 1.0)]


def test_a_shift_is_seen_by_the_phase_alone():
    phase, both, amplitude = powers(normal(0, 150, D), 0.4 + normal(1, 150, D))
    assert (phase, both) == (0.005, 0.005)
    assert amplitude > 0.05


def test_a_spread_is_seen_by_the_amplitude_alone():
    phase, both, amplitude = powers(normal(0, 150, D), 1.5 * normal(1, 150, D))
    assert (amplitude, both) == (0.005, 0.005)
    assert phase > 0.05


def test_a_skew_of_equal_mean_and_covariance_is_seen():
    # Exponential less its mean against a normal: mean 0 and variance 1 both.
    skewed = -torch.log(torch.rand(200, 1, generator=rng(0), dtype=torch.float64)) - 1
    assert two_sample_test(skewed, normal(1, 200, 1), permutations=199).p_value == 0.005


def test_swapping_the_samples_changes_no_statistic_and_no_verdict():
    x, y = normal(0, 40, D), 0.25 + normal(1, 25, D)
    there, back = two_sample_test(x, y), two_sample_test(y, x)
    t = normal(2, 20, D)
    exact, swapped = (two_sample_test(a, b, frequencies=t, permutations=9) for a, b in ((x, y), (y, x)))
    assert exact.statistic == pytest.approx(swapped.statistic, abs=1e-12)
    # Other permutations are drawn: four deviations of the estimate.
    spread = 4 * math.sqrt(2 * there.p_value * (1 - there.p_value) / 1000)
    assert back.p_value == pytest.approx(there.p_value, abs=spread + 0.02)
    assert 0.01 < there.p_value < 0.9


def test_the_p_value_is_never_0_and_never_above_1():
    far = two_sample_test(normal(0, 30, D), 100 + normal(1, 30, D), permutations=49)
    assert far.p_value == 1 / 50
    same = normal(0, 30, D)
    assert two_sample_test(same, same, permutations=49).p_value == 1
    assert two_sample_test(same, same, permutations=49).statistic == 0


@pytest.mark.parametrize("value", [0.0, 3.0])
def test_rows_that_all_coincide_differ_in_nothing(value):
    found = two_sample_test(torch.full((5, D), value), torch.full((8, D), value), permutations=19)
    assert (found.statistic, found.p_value) == (pytest.approx(0, abs=1e-12), 1.0)


def test_one_row_against_one_has_two_shares_only():
    assert two_sample_test(torch.zeros(1, D), torch.ones(1, D), permutations=19).p_value == 1


def test_units_do_not_matter():
    x, y = normal(0, 30, D), 0.3 + normal(1, 30, D)
    small, large = two_sample_test(x, y, permutations=99), two_sample_test(1000 * x, 1000 * y, permutations=99)
    assert large.statistic == pytest.approx(small.statistic, rel=1e-9)
    assert large.p_value == small.p_value


def test_the_generator_is_the_only_randomness():
    x, y = normal(0, 20, D), 0.2 + normal(1, 20, D)
    state = torch.random.get_rng_state()
    assert two_sample_test(x, y) == two_sample_test(x, y)
    assert two_sample_test(x, y, generator=rng(7)) == two_sample_test(x, y, generator=rng(7))
    assert two_sample_test(x, y, generator=rng(7)).statistic != two_sample_test(x, y, generator=rng(8)).statistic
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_usual_scale_is_one_over_the_median_distance():
    x, y = normal(0, 30, D), 3 * normal(1, 20, D)
    found = two_sample_test(x, y, num_frequencies=40, permutations=1, generator=rng(3))
    draws = rng(3)
    torch.randperm(50, generator=draws)  # the rows that the median is of: all
    z = torch.randn(40, D, generator=draws, dtype=torch.float64)
    distances = torch.pdist(torch.cat([x, y])).sort().values
    t = z / distances[(len(distances) - 1) // 2]
    assert found.statistic == pytest.approx(float(ncfd(x, y, t)), abs=1e-9)


def test_many_rows_take_the_median_of_some():
    x = normal(0, 1500, 1)
    found = two_sample_test(x[:700], x[700:] + 0.5, num_frequencies=30, permutations=99)
    assert found.p_value == 0.01


@pytest.mark.parametrize(
    "sampler",
    [GaussianFrequencies(D, 40, scale=0.5), DirectFrequencies(D, 40, scale=0.5, seed_generator=rng(0))],
    ids=["gaussian", "direct"],
)
def test_a_sampler_says_where_to_look(sampler):
    x, y = normal(0, 60, D).float().requires_grad_(), 1 + normal(1, 60, D).float()
    found = two_sample_test(x, y, frequencies=sampler, permutations=99)
    assert found.p_value == 0.01
    assert not found.permuted.requires_grad


def test_whole_numbers_and_half_precision_are_taken():
    x = torch.randint(0, 5, (60, 2), generator=rng(0))
    assert two_sample_test(x, x + 3, permutations=99).p_value == 0.01
    assert two_sample_test(x.half(), (x + 3).half(), permutations=99).p_value == 0.01


@pytest.mark.parametrize(
    ("x", "y", "options", "words"),
    [
        (torch.zeros(4, D), torch.zeros(4, 2), {}, "agree but for n and m"),
        (torch.zeros(4), torch.zeros(4), {}, "agree but for n and m"),
        (torch.zeros(2, 4, D), torch.zeros(2, 4, D), {}, "Expected two matrices"),
        (torch.zeros(0, D), torch.zeros(4, D), {}, "at least one row"),
        (torch.full((4, D), math.nan), torch.zeros(4, D), {}, "x has 12 values that are not finite"),
        (torch.zeros(4, D), torch.full((4, D), math.inf), {}, "y has 12 values that are not finite"),
        (torch.zeros(4, D, dtype=torch.complex64), torch.zeros(4, D), {}, "Expected real numbers, x is"),
        (torch.zeros(4, D), torch.zeros(4, D, device="meta"), {}, "both samples on one device"),
        (torch.zeros(4, D), torch.zeros(4, D), {"permutations": 0}, "permutations must be at least 1"),
        (torch.zeros(4, D), torch.zeros(4, D), {"amplitude_weight": -0.1}, "amplitude_weight must lie"),
        (torch.zeros(4, D), torch.zeros(4, D), {"num_frequencies": 0}, "num_frequencies must be at least 1"),
        (torch.zeros(4, D), torch.zeros(4, D), {"scale": 0.0}, "scale must be above 0"),
        (torch.zeros(4, D), torch.zeros(4, D), {"frequencies": torch.zeros(4, 2)}, r"shape \(k, 3\), got \(4, 2\)"),
    ],
)
def test_mistakes_are_told(x, y, options, words):
    with pytest.raises(NcfmError, match=words):
        two_sample_test(x, y, **options)
