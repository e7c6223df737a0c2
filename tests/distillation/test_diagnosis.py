"""What a diagnosis says, where the truth is known."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torch import nn

from ncfm._utils.seeding import generator
from ncfm.discrepancy import characteristic_function, ncfd
from ncfm.discrepancy.frequencies import DirectFrequencies, GaussianFrequencies
from ncfm.distillation.diagnosis import QUANTILES, Spectrum, collapse, look, spectrum
from ncfm.distillation.history import DIAGNOSIS_FILE
from ncfm.distillation.objectives import CharacteristicMatching
from strategies import normal, rng
from tiny import WIDTH, distill, few, mixture, random_pool

C, N, M, D, K = 3, 200, 40, 6, 4000


class OneAxis(nn.Module):
    """Frequencies along the first axis alone."""

    num_frequencies, num_features = K, D

    def sample(self, generator):
        return 3 * torch.randn(K, 1, generator=generator) * torch.eye(D)[:1] * math.sqrt(D)


@pytest.fixture
def samples():
    return normal(0, C, N, D).float() / math.sqrt(D), normal(1, C, M, D).float() / math.sqrt(D)


def gaussian(seed=0, scale=1.5):
    return GaussianFrequencies(D, K, scale=scale).sample(generator(seed, "t"))


def test_the_discrepancy_is_ncfd(samples):
    t = gaussian()
    torch.testing.assert_close(look(*samples, t, 0.3).discrepancy, ncfd(*samples, t, amplitude_weight=0.3))


def test_two_samples_of_one_law_show_no_excess(samples):
    seen = look(*samples, gaussian(), 0.5)
    assert torch.all((seen.excess - 1).abs() < 0.35)
    shifted = look(samples[0], samples[1] + 0.5, gaussian(), 0.5)
    assert torch.all(shifted.excess > 3)


@pytest.mark.parametrize(("n", "m"), [(8, 8), (6, 40)])
def test_the_floor_is_what_two_samples_of_one_law_differ_by(n, m):
    """Small samples, where each part of the floor counts; the mean over many groups of its two sides."""
    t = gaussian(scale=0.5)[:200]
    real, synthetic = normal(0, 3000, n, D).float(), normal(1, 3000, m, D).float()
    phi_x, phi_y = characteristic_function(real, t), characteristic_function(synthetic, t)
    square = ((phi_x.real - phi_y.real).square() + (phi_x.imag - phi_y.imag).square()).mean(-1)
    floor = square / look(real, synthetic, t, 0.5).excess
    assert float(floor.mean()) == pytest.approx(float(square.mean()), rel=0.03)


def test_modulus_of_a_gaussian_in_closed_form():
    # x ~ N(0, I / d): Phi(t) = exp(-|t|^2 / 2d), and over t ~ N(0, s^2 I) its mean is (1 + s^2 / d)^(-d / 2).
    real = normal(0, 1, 20000, D).float() / math.sqrt(D)
    seen = look(real, real[:, :M], gaussian(scale=1.5), 0.5)
    assert float(seen.modulus) == pytest.approx((1 + 1.5**2 / D) ** (-D / 2), rel=0.03)
    assert float(seen.spread) == pytest.approx(1.5, rel=0.05)


def test_shift_is_phase_and_scale_is_amplitude(samples):
    real = samples[0]
    t = gaussian(scale=0.5)
    assert float(look(real, real + 0.5, t, 0.5).amplitude_share.max()) < 0.01
    centred = real - real.mean(1, keepdim=True)
    mirrored = torch.cat([centred, -centred], dim=1)  # a real characteristic function: no phase where it is positive
    assert float(look(mirrored, 1.3 * mirrored, t, 0.5).amplitude_share.min()) > 0.99
    assert float(look(mirrored, 1.3 * mirrored, t, 0.0).amplitude_share.max()) == 0


def test_bandwidths_are_quantiles_of_lengths():
    t = gaussian(scale=2.0)
    found = look(torch.zeros(1, 2, D), torch.zeros(1, 2, D), t, 0.5).bandwidths
    lengths = sorted((t.norm(dim=1) / math.sqrt(D)).tolist())
    for value, q in zip(found.tolist(), QUANTILES, strict=True):
        assert value == pytest.approx(lengths[round(q * (K - 1))], rel=1e-3)


def test_frequencies_that_look_along_the_difference_see_more(samples):
    real, synthetic = samples
    synthetic = synthetic + 0.4 * torch.eye(D)[0]
    found = CharacteristicMatching(OneAxis()).diagnose(real, synthetic, generator(0, "look"))
    assert torch.all(found.learned.discrepancy > 1.5 * found.fixed.discrepancy)
    lengths = [float(look.bandwidths[2]) for look in found]
    # Fixed frequencies of the same root mean square, 3; those on one axis have lengths of 3 |normal|.
    assert lengths[0] == pytest.approx(3 * 0.6745, rel=0.05)
    assert lengths[1] == pytest.approx(3 * math.sqrt(5.348 / D), rel=0.03)  # the median of chi-squared of 6
    assert found.as_dict().keys() == {f"{kind}.{name}" for kind in found._fields for name in found.learned._fields}
    json.dumps(found.as_dict())


def test_a_run_that_is_looked_at_is_the_same_run(digits, tmp_path):
    images = few(digits)
    pool = random_pool(images)
    options = {"ipc": 1, "iterations": 5, "factor": 1, "real_batch_per_class": 4}
    plain = distill(images, pool, mixture(64), **options)
    looked = distill(images, pool, mixture(64), diagnose_every=2, folder=tmp_path, **options)
    assert torch.equal(plain.synthetic.images, looked.synthetic.images)
    entries = [json.loads(line) for line in (tmp_path / DIAGNOSIS_FILE).read_text().splitlines()]
    assert [entry["iteration"] for entry in entries] == [2, 4, 5]
    assert len(entries[0]["learned.discrepancy"]) == images.num_classes


# --- an adversary that collapses ----------------------------------------------------------------------------


def test_the_spectrum_of_frequencies_in_closed_form():
    """k rows of one direction have one; the axes, each once, have d; lengths are told apart from directions."""
    one = torch.ones(6, 1) * torch.tensor([[3.0, 4.0, 0.0, 0.0]])
    assert spectrum(one) == pytest.approx((2.5, 1.0))
    assert spectrum(torch.eye(4) * 5) == pytest.approx((2.5, 4.0))
    assert spectrum(torch.cat([torch.eye(4), torch.zeros(8, 4)])).directions == pytest.approx(4)
    # Two directions with variances 1 and 3: (1 + 3)^2 / (1 + 9).
    assert spectrum(torch.tensor([[1.0, 0], [0, 3**0.5]])).directions == pytest.approx(1.6)
    assert spectrum(torch.zeros(3, 4)) == (0, 0)


@pytest.mark.parametrize(("k", "d"), [(400, 100), (100, 400)])
def test_normal_frequencies_take_kd_over_k_plus_d_directions(k, d):
    assert spectrum(torch.randn(k, d, generator=rng(0))).directions == pytest.approx(k * d / (k + d), rel=0.05)


@pytest.mark.parametrize(
    ("now", "said"),
    [
        (Spectrum(1.0, 80.0), None),
        (Spectrum(0.11, 8.1), None),
        (Spectrum(0.09, 80.0), "length went from 1 to 0.09"),
        (Spectrum(11.0, 80.0), "length went from 1 to 11"),
        (Spectrum(1.0, 7.0), "of 80 directions 7 are left"),
    ],
)
def test_what_counts_as_a_collapse(now, said):
    found = collapse(Spectrum(1.0, 80.0), now)
    assert found is None if said is None else said in found


def direct():
    return CharacteristicMatching(DirectFrequencies(WIDTH, 64, seed_generator=rng(0)))


def test_a_collapsed_adversary_is_told_once(digits, tmp_path):
    images, objective = few(digits), direct()
    pool = random_pool(images)

    def push(iteration, metrics):
        if iteration == 2:  # all rows into one direction
            with torch.no_grad():
                objective.adversary.bias_out.fill_(100.0)

    options = {"ipc": 1, "iterations": 6, "real_batch_per_class": 2, "checkpoint_seconds": 1e-9}
    with pytest.warns(UserWarning, match="collapsed by iteration 2: of .* directions 1 are left") as heard:
        distill(images, pool, objective, folder=tmp_path, on_iteration=push, **options)
    assert len(heard) == 1


def test_an_adversary_that_works_is_not_told_of(digits):
    images = few(digits)
    pool = random_pool(images)
    for objective in (mixture(64), direct()):
        distill(images, pool, objective, ipc=1, iterations=6, real_batch_per_class=2, checkpoint_seconds=1e-9)
