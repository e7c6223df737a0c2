"""The benchmark of the adversary: a gap without sampling noise, and samplers that find more of it."""

from __future__ import annotations

from dataclasses import replace

import torch
from benchmarks.adversary import BLENDS, CRITERIA, FORMS, FeaturesOf, ascended, features, found, gap, transfer
from torch.testing import assert_close

from ncfm.baselines import select
from ncfm.config.schema import make_config
from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.frequencies import GaussianFrequencies, ScaleMixtureFrequencies
from strategies import normal, rng

D = 4


def test_the_gap_of_halves_has_no_bias():
    law, y, t = normal(0, 5, D), 0.3 + normal(1, 1, 6, D), normal(2, 3, D)
    batches = law[torch.randint(5, (40_000, 4), generator=rng(3))]  # of four rows: the noise is as large as the gap
    phi, phi_y = characteristic_function(law, t), characteristic_function(y, t)
    true = (phi.real - phi_y.real).square() + (phi.imag - phi_y.imag).square()
    assert_close(gap(batches, y, t).mean(0), true[0], atol=0.01, rtol=0)
    drawn = characteristic_function(batches, t)
    plain = ((drawn.real - phi_y.real).square() + (drawn.imag - phi_y.imag).square()).mean(0)
    noise = (1 - phi.real.square() - phi.imag.square()) / 4
    assert_close(plain, true[0] + noise, atol=0.01, rtol=0)
    assert float(noise.min()) > 0.05


def test_every_criterion_finds_where_samples_differ():
    # They differ along the first axis only.
    x = normal(0, 1, 4000, D).float()
    y = (normal(1, 1, 4000, D) * torch.tensor([0.3, 1, 1, 1])).float()
    fixed = found(GaussianFrequencies(D, 64, scale=1.0), x[:, 2000:], y)
    for criterion in CRITERIA:
        sampler = ScaleMixtureFrequencies(D, 64, scale=1.0, seed_generator=rng(4))
        ascended(sampler, criterion, x[:, :2000], y, steps=60, lr=0.02, batch=500)
        own = found(sampler, x[:, 2000:], y)
        assert own.gap > 1.3 * fixed.gap
        assert 0.9 < own.rms < 1.1  # the bandwidth is fixed


def test_what_is_learned_under_one_extractor_is_worth_less_under_another():
    # Samples differ along the first axis under A, along the second under B.
    config = make_config({"frequencies": {"number": 64, "scale": 1.0}, "distill": {"real_batch_per_class": 500}})

    def seen_by(axis, seed):
        spread = torch.ones(D)
        spread[axis] = 0.3
        x = normal(seed, 1, 4000, D).float()
        return FeaturesOf(x[:, :2000], x[:, 2000:], (normal(seed + 1, 1, 4000, D) * spread).float())

    by_extractor = {"A": seen_by(0, 0), "B": seen_by(1, 2)}
    fixed = GaussianFrequencies(D, 64, scale=1.0)
    plain = {name: found(fixed, z.held, z.synthetic).gap for name, z in by_extractor.items()}
    own = transfer("mixture", "halves", by_extractor, config, steps=600, fit=1)
    assert own["A"].gap > 1.2 * plain["A"]
    assert own["B"].gap < 0.9 * plain["B"]


def test_every_extractor_sees_the_same_images(digits):
    synthetic = select("random", digits, None, ipc=1, factor=1, generator=rng(0))
    config = make_config({"teachers": {"network": "convnet1w8", "number": 2, "epochs": 1}})
    found = features(replace(synthetic, facts={"data": "digits"}), config, per_class=10)
    assert list(found) == ["A", *(f"A blended {beta}" for beta in BLENDS), "B"]
    assert {(z.seen.shape, z.held.shape, z.synthetic.shape) for z in found.values()} == {
        ((10, 5, 128), (10, 5, 128), (10, 1, 128))
    }
    assert not torch.equal(found["A"].held, found["B"].held)
    assert not torch.equal(found["A"].held, found["A blended 0.2"].held)
    assert set(FORMS) >= {"mixture", "direct"}
