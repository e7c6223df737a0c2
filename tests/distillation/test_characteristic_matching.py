"""What the adversary ascends by criterion: who gets which gradient, alone and in an iteration."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.discrepancy import characteristic_function
from ncfm.discrepancy.frequencies import LEARNED_SAMPLERS, GaussianFrequencies
from ncfm.discrepancy.halves import BY_HALVES, criterion_by_halves
from ncfm.distillation import ascend
from ncfm.distillation.characteristic_matching import CharacteristicMatching
from ncfm.distillation.class_sizes import ByGroups
from strategies import normal, rng
from tiny import WIDTH, Frozen, Recorder, make_step, mixture, random_pool

C, D, K = 3, 4, 32
by_halves = pytest.mark.parametrize("criterion", BY_HALVES)
every_family = pytest.mark.parametrize("family", LEARNED_SAMPLERS)


def sampler(family, width=D):
    return LEARNED_SAMPLERS[family](width, K, seed_generator=rng(0))


def matching(family, criterion, width=D, **options):
    return CharacteristicMatching(sampler(family, width), criterion=criterion, **options)


def features():
    return normal(0, C, 10, D).float(), 0.5 + normal(1, C, 4, D).float()


# ---------------------------------------------------------------- the objective


@every_family
def test_the_default_measures_no_criterion(family):
    assert matching(family, "discrepancy").measure(*features(), rng(1)).criterion is None
    fixed = CharacteristicMatching(GaussianFrequencies(D, K), criterion="halves")  # nothing ascends
    assert fixed.measure(*features(), rng(1)).criterion is None


def test_a_criterion_has_a_known_name():
    with pytest.raises(NcfmError, match=r"Unknown criterion 'halfs'\. Did you mean 'halves'"):
        matching("mixture", "halfs")


@by_halves
@every_family
@pytest.mark.parametrize("corrected", [False, True])
def test_each_player_has_a_value_of_its_own(family, criterion, corrected):
    objective, plain = (matching(family, name, corrected=corrected) for name in (criterion, "discrepancy"))
    real, synthetic = features()
    synthetic.requires_grad_()
    measured, expected = (one.measure(real, synthetic, rng(1)) for one in (objective, plain))
    t = plain.sampler.sample(rng(1))
    assert_close(measured.criterion, criterion_by_halves(criterion, real, synthetic, t))
    for part, other in zip(measured[:3], expected[:3], strict=True):
        assert_close(part, other)
    learned = list(objective.adversary.parameters())
    values = measured.discrepancy.sum(), measured.criterion.sum()
    of_images, of_psi = (
        torch.autograd.grad(value, [synthetic, *learned], retain_graph=True, allow_unused=True) for value in values
    )
    assert all(gradient is None for gradient in (*of_images[1:], of_psi[0]))
    (same,) = torch.autograd.grad(expected.discrepancy.sum(), synthetic)
    assert_close(of_images[0], same, rtol=1e-4, atol=1e-6)
    slow = criterion_by_halves(criterion, real, synthetic.detach(), plain.sampler.sample(rng(1))).sum()
    for found, wanted in zip(of_psi[1:], torch.autograd.grad(slow, list(plain.adversary.parameters())), strict=True):
        assert_close(found, wanted, rtol=1e-4, atol=1e-5 * float(wanted.abs().max()))
        assert float(wanted.abs().max()) > 0


@by_halves
def test_the_discrepancy_alone_serves_both_players(criterion):
    objective, (real, synthetic) = matching("mixture", criterion), features()
    value = objective.discrepancy(real, synthetic.requires_grad_(), rng(1)).sum()
    assert all(g.abs().max() > 0 for g in torch.autograd.grad(value, [synthetic, *objective.adversary.parameters()]))


@by_halves
def test_rows_are_projected_in_chunks_alike(criterion):
    whole, parts = (matching("direct", criterion, chunk_size=size) for size in (None, 3))
    real, synthetic = features()
    found = [one.measure(real, synthetic.clone().requires_grad_(), rng(1)) for one in (whole, parts)]
    assert_close(found[1].criterion, found[0].criterion)
    gradients = [
        torch.autograd.grad(one.criterion.sum(), list(of.adversary.parameters()))
        for one, of in zip(found, (whole, parts), strict=True)
    ]
    for a, b in zip(*gradients, strict=True):
        assert_close(a, b, rtol=1e-4, atol=1e-6)


@by_halves
def test_unequal_classes_have_a_criterion_each(criterion):
    objective, counts = matching("mixture", criterion), (3, 1, 2)
    real, flat = features()[0], normal(3, 6, D).float()
    found = ByGroups(objective, counts, torch.device("cpu")).measure(real, flat, rng(1)).criterion
    for c, part in enumerate(flat.split(counts)):
        alone = objective.measure(real[c : c + 1], part[None], rng(1)).criterion
        assert_close(found[c], alone[0])


# ---------------------------------------------------------------- in an iteration


def test_the_default_is_the_discrepancy_to_the_bit(images, pool):
    objectives = mixture(), mixture(criterion="discrepancy"), mixture(criterion="halves")
    played = [make_step(images, pool, objective=objective) for objective in objectives]
    records = [[one() for _ in range(3)] for one in played]
    assert [record.criterion for record in records[0]] == [None] * 3
    for a, b in zip(records[0], records[1], strict=True):
        assert torch.equal(a.discrepancy, b.discrepancy)
    tensors = [[one.images.tensors[0], *one.adversary.tensors] for one in played]
    assert all(torch.equal(a, b) for a, b in zip(tensors[0], tensors[1], strict=True))
    assert not torch.equal(tensors[2][1], tensors[0][1])
    assert all(record.criterion is not None for record in records[2])


@by_halves
@every_family
def test_together_psi_gets_the_criterion_and_the_images_the_discrepancy(images, pool, family, criterion):
    options = {"player": Frozen, "matching_weight": 3.0}
    plain, halved = (
        make_step(images, pool, objective=matching(family, name, WIDTH), **options)
        for name in ("discrepancy", criterion)
    )
    expected, record = plain(), halved()
    assert_close(halved.images.gradients[0][0], plain.images.gradients[0][0], rtol=1e-3, atol=1e-6)
    for name in ("discrepancy", "calibration", "amplitude", "phase"):
        assert_close(getattr(record, name), getattr(expected, name), rtol=1e-4, atol=1e-6)

    again = make_step(images, pool, objective=matching(family, criterion, WIDTH), **options)
    again.extractor.draw(again.streams["teachers"])
    draw = again.views.augment.draw(10, 8, again.streams["augment"])
    real = again.real.features(draw, again.streams["batches"])
    synthetic = again.synthetic.features_of(again.synthetic.training_images(draw)).detach()
    psi = again.objective.sampler
    value = criterion_by_halves(criterion, real, synthetic, psi.sample(again.streams["frequencies"]))
    assert_close(record.criterion, value.mean().detach(), rtol=1e-4, atol=1e-7)
    for found, wanted in zip(
        halved.adversary.gradients[0], torch.autograd.grad(3 * value.sum(), list(psi.parameters())), strict=True
    ):
        assert_close(found, wanted, rtol=1e-3, atol=1e-5 * float(wanted.abs().max()))


@by_halves
def test_an_ascent_of_its_own_raises_the_criterion(images, pool, criterion):
    played = make_step(images, pool, objective=matching("mixture", criterion, WIDTH), real_batch_per_class=8)
    real, synthetic = normal(0, 10, 40, WIDTH).float(), 0.3 * normal(1, 10, 4, WIDTH).float()
    real, synthetic = (torch.nn.functional.normalize(z, dim=-1) for z in (real, synthetic))

    def now():
        t = played.objective.sampler.sample(rng(7)).detach()
        return float(criterion_by_halves(criterion, real, synthetic, t).sum())

    before, pixels = now(), played.images.tensors[0].detach().clone()
    value = ascend(played.objective, played.adversary, real, synthetic, rng(7))
    assert now() > before
    assert_close(value, matching("mixture", "discrepancy", WIDTH).discrepancy(real, synthetic, rng(7)).detach())
    assert torch.equal(pixels, played.images.tensors[0])


@by_halves
@pytest.mark.parametrize("steps", [(3, 1), (0, 1), (1, 2)])
def test_ascents_are_counted_with_any_criterion(images, pool, criterion, steps):
    played = make_step(
        images,
        pool,
        player=Recorder,
        objective=matching("mixture", criterion, WIDTH),
        ascent_steps=steps[0],
        descent_steps=steps[1],
    )
    record = played()
    assert (len(played.adversary.gradients), len(played.images.gradients)) == steps
    assert torch.isfinite(record.criterion)


@by_halves
def test_parts_and_passes_have_the_gradients_of_the_whole(images, criterion):
    pool = random_pool(images, number=1)
    whole, passes = (
        make_step(images, pool, player=Frozen, objective=matching("mixture", criterion, WIDTH), ipc=2, **options)
        for options in ({}, {"gradient_chunk_size": 3, "chunk_size": 5})
    )
    parted = make_step(
        images, pool, player=Frozen, objective=matching("mixture", criterion, WIDTH), ipc=2, classes_per_step=4
    )
    expected, found = whole(), passes()
    assert_close(found.criterion, expected.criterion, rtol=1e-4, atol=1e-6)
    for a, b in zip(passes.adversary.gradients[0], whole.adversary.gradients[0], strict=True):
        assert_close(a, b, rtol=1e-3, atol=1e-5 * float(b.abs().max()))
    assert torch.isfinite(parted().criterion)
    assert len(parted.adversary.gradients) == 3


def test_the_criterion_is_computed_at_the_frequencies_of_the_discrepancy(images):
    objective, (real, synthetic) = matching("mixture", "halves"), features()
    state = copy.deepcopy(rng(1))
    measured = objective.measure(real, synthetic, state)
    once = rng(1)
    t = objective.sampler.sample(once)
    assert torch.equal(once.get_state(), state.get_state())  # one draw for both
    phi_x, phi_y = characteristic_function(real, t), characteristic_function(synthetic, t)
    square = (phi_x.real - phi_y.real).square() + (phi_x.imag - phi_y.imag).square()
    assert_close(measured.amplitude + measured.phase, square.mean(-1).detach(), rtol=1e-4, atol=1e-6)
