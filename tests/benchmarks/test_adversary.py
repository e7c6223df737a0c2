"""The benchmark of the adversary: a gap without sampling noise, and samplers that find more of it."""

from __future__ import annotations

import torch
from benchmarks.adversary import CRITERIA, ascended, found, halves_gap
from torch.testing import assert_close

from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.frequencies import GaussianFrequencies, ScaleMixtureFrequencies
from strategies import normal, rng

D = 4


def test_the_gap_of_halves_has_no_bias():
    law, y, t = normal(0, 5, D), 0.3 + normal(1, 1, 6, D), normal(2, 3, D)
    batches = law[torch.randint(5, (40_000, 4), generator=rng(3))]  # of four rows: the noise is as large as the gap
    phi, phi_y = characteristic_function(law, t), characteristic_function(y, t)
    gap = (phi.real - phi_y.real).square() + (phi.imag - phi_y.imag).square()
    assert_close(halves_gap(batches, y, t).mean(0), gap[0], atol=0.01, rtol=0)
    drawn = characteristic_function(batches, t)
    plain = ((drawn.real - phi_y.real).square() + (drawn.imag - phi_y.imag).square()).mean(0)
    noise = (1 - phi.real.square() - phi.imag.square()) / 4
    assert_close(plain, gap[0] + noise, atol=0.01, rtol=0)
    assert float(noise.min()) > 0.05


def test_every_criterion_finds_where_samples_differ():
    # They differ along the first axis only.
    x = normal(0, 1, 4000, D).float()
    y = (normal(1, 1, 4000, D) * torch.tensor([0.3, 1, 1, 1])).float()
    fixed = found(GaussianFrequencies(D, 64, scale=1.0), x[:, 2000:], y)
    for criterion in CRITERIA:
        sampler = ScaleMixtureFrequencies(D, 64, scale=1.0, seed_generator=rng(4))
        ascended(sampler, criterion, x[:, :2000], y, steps=60, lr=0.02, batch=500)
        gap, _, scale = found(sampler, x[:, 2000:], y)
        assert gap > 1.3 * fixed[0]
        assert 0.9 < scale < 1.1  # the bandwidth is fixed
