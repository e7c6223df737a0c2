"""The benchmark of the adversary: a gap without sampling noise, samplers that find more of it, and where."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
import torch
from benchmarks.adversary import Job, Problem, fixed_gaps, missing, rows_of
from benchmarks.adversary_fits import (
    BLENDS,
    FORMS,
    MEASURED,
    ONE,
    PER_TEACHER,
    SHARED,
    TRAININGS,
    Extractor,
    FeaturesOf,
    Found,
    ascended,
    extractors_of,
    features,
    fitted,
    found,
    sampler_of,
)
from torch.testing import assert_close

from benchmarks import adversary
from ncfm._utils.seeding import generator
from ncfm.baselines import select
from ncfm.config.layers import make_config
from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.frequencies import LEARNED_SAMPLERS, GaussianFrequencies, ScaleMixtureFrequencies
from ncfm.discrepancy.halves import CRITERIA
from ncfm.results.files import append_rows, read_rows
from ncfm.synthetic.storage import save
from strategies import normal, rng

D = 4
A, B, CPU = Extractor(0), Extractor(1), torch.device("cpu")
CONFIG = make_config(
    {
        "frequencies": {"number": 64, "scale": 1.0},
        "distill": {"real_batch_per_class": 150, "adversary_lr": 0.01},
        "teachers": {"number": 2},
    }
)


def seen_by(axis, seed):
    """Samples that differ along an axis only."""
    spread = torch.ones(D)
    spread[axis] = 0.3
    x = normal(seed, 1, 1000, D).float()
    return FeaturesOf(x[:, :500], x[:, 500:], (normal(seed + 1, 1, 1000, D) * spread).float())


@pytest.fixture(scope="module")
def by_extractor():
    """Samples differ along the first axis under A, along the second under B."""
    return {A: seen_by(0, 0), B: seen_by(1, 2)}


def test_the_gap_of_halves_has_no_bias():
    distribution, y = normal(0, 5, D), 0.3 + normal(1, 6, D)
    sampler = GaussianFrequencies(D, 8, scale=1.0)
    batches = distribution[torch.randint(5, (40_000, 4), generator=rng(3))]  # the noise is as large as the gap
    t = torch.cat([sampler.sample(again) for again in [looks()] for _ in range(8)]).double()
    phi, phi_y = characteristic_function(distribution, t), characteristic_function(y, t)
    true = ((phi.real - phi_y.real).square() + (phi.imag - phi_y.imag).square()).mean()
    own = found(sampler, batches.float(), y.float().expand(len(batches), -1, -1))
    assert own.gap == pytest.approx(float(true), abs=0.01)
    noise = float((1 - phi.real.square() - phi.imag.square()).mean() / 4)
    assert noise > 0.05
    assert own.rms == pytest.approx(float(t.square().mean().sqrt()), rel=1e-5)


def looks():
    """The generator of `found`."""

    return generator(0, "look")


@pytest.mark.parametrize("criterion", CRITERIA)
def test_every_criterion_finds_where_samples_differ(by_extractor, criterion):
    x = by_extractor[A]
    fixed = found(GaussianFrequencies(D, 64, scale=1.0), x.held, x.synthetic)
    sampler = ScaleMixtureFrequencies(D, 64, scale=1.0, seed_generator=rng(4))
    ascended(sampler, criterion, {A: x}, steps=60, lr=0.02, batch=150)
    own = found(sampler, x.held, x.synthetic)
    assert own.gap > 1.3 * fixed.gap
    assert 0.9 < own.rms < 1.1  # the bandwidth is fixed


def test_a_sampler_for_each_teacher_finds_what_one_for_all_cannot(by_extractor):
    plain = {extractor: one.gap for extractor, one in fixed_gaps(by_extractor, CONFIG).items()}
    ratios = {}
    for training in TRAININGS:
        own = fitted("mixture", "halves", training, by_extractor, CONFIG, steps=60, fit=1)
        ratios[training] = {extractor: own[extractor].gap / plain[extractor] for extractor in (A, B)}
    assert ratios[ONE][A] > 1.2 > 0.95 > ratios[ONE][B]
    assert min(ratios[PER_TEACHER].values()) > 1.2
    assert max(ratios[SHARED].values()) < min(ratios[PER_TEACHER].values())


def test_every_learned_family_has_a_form():
    assert {settings["family"] for settings in FORMS.values()} == set(LEARNED_SAMPLERS)
    for form in FORMS:
        sampler = sampler_of(form, "halves", PER_TEACHER, CONFIG, D, 0)
        assert len(sampler.samplers) == 2
    assert sampler_of("mixture, spread 10", "halves", ONE, CONFIG, D, 0).spread == 10


def test_extractors_have_names_and_turns_have_all_blends():
    assert [str(extractor) for extractor in MEASURED] == ["A", "A blended 0.2", "A blended 0.4", "A blended 0.6", "B"]
    assert extractors_of([ONE], 3) == list(MEASURED)
    turns = extractors_of([ONE, SHARED], 3)
    assert sorted(turns) == [Extractor(teacher, blend) for teacher in range(3) for blend in BLENDS]


def test_every_extractor_sees_the_same_images(digits):
    synthetic = select("random", digits, None, ipc=1, factor=1, generator=rng(0))
    config = make_config({"teachers": {"network": "convnet1w8", "number": 2, "epochs": 1}})
    wanted = extractors_of([PER_TEACHER], 2)
    made = features(replace(synthetic, facts={"data": "digits"}), config, wanted, per_class=10)
    assert list(made) == wanted
    assert {(z.seen.shape, z.synthetic.shape) for z in made.values()} == {((10, 5, 128), (10, 1, 128))}
    assert {extractor for extractor, z in made.items() if z.held is not None} == set(MEASURED)
    assert not torch.equal(made[A].held, made[B].held)
    assert not torch.equal(made[A].held, made[Extractor(0, 0.2)].held)
    assert not torch.equal(made[A].seen, made[A].held)


# ---------------------------------------------------------------- rows


@pytest.fixture
def problem(digits):
    synthetic = select("random", digits, None, ipc=1, factor=1, generator=rng(0))
    return Problem(replace(synthetic, facts={"data": "digits"}), CONFIG, steps=2, fits=2)


def test_rows_have_the_mean_and_the_interval_over_fits(problem):
    fixed = {A: Found(0.5, 0.1, 1.0), B: Found(0.25, 0.1, 1.0)}
    fits = [{A: Found(gap, 0.2, 1.0), B: Found(0.25, 0.3, 2.0)} for gap in (1.0, 1.5)]
    a, b = rows_of(Job(PER_TEACHER, "direct", "halves"), problem, fits, fixed, CPU)
    assert (a.extractor, a.training, a.form, a.criterion, a.teachers) == ("A", PER_TEACHER, "direct", "halves", 2)
    assert (a.fits, a.steps, a.dataset, a.fixed_gap) == (2, 2, "digits", 0.5)
    assert a.ratio_mean == pytest.approx(2.5)
    assert a.ratio_std == pytest.approx(0.5 * 2**0.5)
    # t of one degree of freedom at 97.5 %: 12.706, times 0.5 sqrt(2) / sqrt(2).
    assert (a.ratio_low, a.ratio_high) == pytest.approx((2.5 - 6.353, 2.5 + 6.353), abs=1e-3)
    assert (b.ratio_mean, b.ratio_low, b.ratio_high) == pytest.approx((1, 1, 1))
    assert (b.modulus_squared, b.frequency_rms) == pytest.approx((0.3, 2.0))


def test_rows_that_are_there_are_not_measured_again(problem, tmp_path):
    done, other = Job(ONE, "mixture", "halves"), Job(PER_TEACHER, "mixture", "halves")
    path = tmp_path / "adversary.csv"
    assert missing([done, other], problem, None) == missing([done, other], problem, path) == [done, other]
    fixed = dict.fromkeys(MEASURED, Found(0.5, 0.1, 1.0))
    rows = list(rows_of(done, problem, [fixed, fixed], fixed, CPU))
    append_rows(path, rows[:-1])
    assert missing([done, other], problem, path) == [done, other]
    append_rows(path, rows[-1:])
    assert missing([done, other], problem, path) == [other]
    assert missing([done], problem._replace(fits=3), path) == [done]
    longer = CONFIG.model_copy(update={"teachers": CONFIG.teachers.model_copy(update={"epochs": 16})})
    assert missing([done], problem._replace(config=longer), path) == [done]


def test_the_command_goes_on_where_it_stopped(digits, tmp_path, monkeypatch, capsys):
    synthetic = select("random", digits, None, ipc=1, factor=1, generator=rng(0))
    settings = {"teachers": {"network": "convnet1w8", "epochs": 1}, "frequencies": {"number": 16}}
    facts = {"data": "digits", "config": make_config(settings).model_dump(mode="json")}
    save(replace(synthetic, facts=facts), tmp_path / "set")
    path = tmp_path / "adversary.csv"

    def command(*more):
        options = ["--steps", "1", "--fits", "2", "--per-class", "8", "--forms", "mixture", "--criteria", "halves"]
        monkeypatch.setattr(sys, "argv", ["x", str(tmp_path / "set"), *options, "--results", str(path), *more])
        adversary.main()
        return [(row["training"], row["extractor"]) for row in read_rows(path)]

    assert command("--trainings", ONE) == [(ONE, str(extractor)) for extractor in MEASURED]
    assert command() == [(training, str(extractor)) for training in TRAININGS for extractor in MEASURED]
    monkeypatch.setattr(adversary, "features", lambda *a: pytest.fail("nothing is missing"))
    command()
    assert "has all rows" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        command("--teachers", "1")


def test_gaps_of_fixed_frequencies_are_those_of_the_run(by_extractor):
    fixed = fixed_gaps(by_extractor, CONFIG)
    x = by_extractor[B]
    assert fixed[B] == found(GaussianFrequencies(D, 64, scale=1.0), x.held, x.synthetic)
    assert_close(torch.tensor(fixed[B].rms), torch.tensor(1.0), rtol=0.05, atol=0)
