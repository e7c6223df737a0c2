import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ncfm._checks import NcfmError
from ncfm.discrepancy import mean_gap, ncfd
from ncfm.frequencies import GaussianFrequencies, ScaleMixtureFrequencies
from ncfm.objectives import CharacteristicMatching, MeanMatching
from strategies import normal, rng

C, N, M, D, K = 3, 20, 8, 6, 64


def gaussian(**options):
    return lambda: CharacteristicMatching(GaussianFrequencies(D, K), **options)


def mixture(fixed_bandwidth, **options):
    def build():
        sampler = ScaleMixtureFrequencies(D, K, fixed_bandwidth=fixed_bandwidth, seed_generator=rng(0))
        return CharacteristicMatching(sampler, **options)

    return build


# A new objective is put here and is under every property below.
OBJECTIVES = {
    "gaussian": gaussian(),
    "gaussian-amplitude": gaussian(amplitude_weight=1.0),
    "gaussian-phase": gaussian(amplitude_weight=0.0),
    "gaussian-corrected": gaussian(corrected=True),
    "gaussian-chunked": gaussian(chunk_size=3),
    "mixture": mixture(False),
    "mixture-fixed-bandwidth": mixture(True),
    "mixture-chunked": mixture(True, chunk_size=3),
    "mean": MeanMatching,
}
ADVERSARIAL = {name: build for name, build in OBJECTIVES.items() if name.startswith("mixture")}
every_objective = pytest.mark.parametrize("build", OBJECTIVES.values(), ids=OBJECTIVES.keys())
every_adversarial = pytest.mark.parametrize("build", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())


def features(seed=0, shift=0.5):
    """Real (C, N, D) and synthetic (C, M, D) features that differ in location and in spread."""
    return normal(seed, C, N, D).float(), shift + 1.5 * normal(seed + 1, C, M, D).float()


def move(tensors, gradients, step):
    """Move along the gradient by a length ``step``; returns the first-order change of the value."""
    length = torch.sqrt(sum(g.square().sum() for g in gradients))
    with torch.no_grad():
        for tensor, gradient in zip(tensors, gradients, strict=True):
            tensor += step * gradient / length
    return float(step * length)


# ---------------------------------------------------------------- every objective


@every_objective
def test_one_finite_value_a_class_never_negative(build):
    value = build().discrepancy(*features(), rng(1)).detach()
    assert value.shape == (C,)
    assert bool(value.isfinite().all())
    assert float(value.min()) > 0.05  # these features do differ


@every_objective
def test_zero_for_the_same_features(build):
    real, _ = features()
    value = build().discrepancy(real, real.flip(1), rng(1)).detach()
    # Rounding of about 2e-7 in a squared gap comes out of the root at up to 4e-4.
    assert_close(value, torch.zeros(C), atol=4e-4, rtol=0)


@every_objective
def test_gradients_reach_every_synthetic_feature(build):
    real, synthetic = features()
    synthetic.requires_grad_()
    build().discrepancy(real, synthetic, rng(1)).sum().backward()
    assert bool(synthetic.grad.isfinite().all())
    assert bool((synthetic.grad != 0).all())


@every_objective
def test_order_of_the_images_does_not_matter(build):
    objective, (real, synthetic) = build(), features()
    shuffled = real[:, torch.randperm(N, generator=rng(2))], synthetic[:, torch.randperm(M, generator=rng(3))]
    assert_close(objective.discrepancy(*shuffled, rng(1)), objective.discrepancy(real, synthetic, rng(1)))


@every_objective
def test_classes_are_independent(build):
    objective, (real, synthetic) = build(), features()
    other_real, other_synthetic = features(seed=50)
    other_real[1], other_synthetic[1] = real[1], synthetic[1]
    value = objective.discrepancy(real, synthetic, rng(1))
    other = objective.discrepancy(other_real, other_synthetic, rng(1))
    assert_close(other[1], value[1])
    assert not bool(torch.isclose(other[[0, 2]], value[[0, 2]]).any())


@every_objective
def test_gradient_of_a_class_stays_in_the_class(build):
    real, synthetic = features()
    synthetic.requires_grad_()
    build().discrepancy(real, synthetic, rng(1))[1].backward()
    assert float(synthetic.grad[[0, 2]].abs().max()) == 0.0
    assert float(synthetic.grad[1].abs().min()) > 0.0


@every_objective
def test_order_of_the_classes_is_kept(build):
    objective, (real, synthetic), order = build(), features(), [2, 0, 1]
    value = objective.discrepancy(real, synthetic, rng(1))
    assert_close(objective.discrepancy(real[order], synthetic[order], rng(1)), value[order])


@every_objective
def test_same_generator_state_gives_the_same_bits(build):
    objective, pair = build(), features()
    assert torch.equal(objective.discrepancy(*pair, rng(1)), objective.discrepancy(*pair, rng(1)))


@every_objective
def test_a_step_down_the_synthetic_gradient_lowers_the_discrepancy(build):
    objective, (real, synthetic) = build(), features()
    synthetic.requires_grad_()
    before = objective.discrepancy(real, synthetic, rng(1)).sum()
    expected = move([synthetic], torch.autograd.grad(before, [synthetic]), -1e-2)
    after = objective.discrepancy(real, synthetic, rng(1)).sum()
    assert float((after - before).detach()) == pytest.approx(expected, rel=0.2)  # the rest is curvature


@every_objective
def test_shapes_that_do_not_fit(build):
    with pytest.raises(NcfmError, match="Expected features of shapes"):
        build().discrepancy(torch.zeros(2, 4, D), torch.zeros(3, 4, D), rng())


# ---------------------------------------------------------------- the adversary


@every_objective
def test_gradients_reach_the_adversary_if_there_is_one(build):
    objective, (real, synthetic) = build(), features()
    value = objective.discrepancy(real, synthetic, rng(1)).sum()
    assert value.requires_grad == (objective.adversary is not None)
    if objective.adversary is not None:
        assert isinstance(objective.adversary, nn.Module)
        value.backward()
        for name, parameter in objective.adversary.named_parameters():
            assert bool(parameter.grad.isfinite().all()), name
            assert float(parameter.grad.abs().max()) > 0, name


def test_who_has_an_adversary():
    with_one = {name for name, build in OBJECTIVES.items() if build().adversary is not None}
    assert with_one == set(ADVERSARIAL)


@every_adversarial
def test_the_adversary_is_the_sampler(build):
    objective = build()
    assert objective.adversary is objective.sampler


@every_adversarial
def test_a_step_up_the_adversarys_gradient_raises_the_discrepancy(build):
    # In double, so that a change of a thousandth is far above rounding; the same noise before and after.
    objective, (real, synthetic) = build(), (z.double() for z in features())
    objective.adversary.double()
    noise = rng(4).get_state()

    def total():
        return objective.discrepancy(real, synthetic, torch.Generator().set_state(noise)).sum()

    before, parameters = total(), list(objective.adversary.parameters())
    expected = move(parameters, torch.autograd.grad(before, parameters), 1e-2)
    change = float((total() - before).detach())
    assert change > 0
    assert change == pytest.approx(expected, rel=0.2)


@every_adversarial
def test_frozen_players_get_no_gradient(build):
    objective, (real, synthetic) = build(), features()
    objective.adversary.requires_grad_(False)
    synthetic.requires_grad_()
    objective.discrepancy(real, synthetic, rng(1)).sum().backward()
    assert synthetic.grad is not None
    assert all(p.grad is None for p in objective.adversary.parameters())


# ---------------------------------------------------------------- what each one computes


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_characteristic_matching_is_ncfd_at_the_samplers_frequencies(alpha, corrected, chunk_size):
    sampler = GaussianFrequencies(D, K, scale=0.7)
    objective = CharacteristicMatching(sampler, amplitude_weight=alpha, corrected=corrected, chunk_size=chunk_size)
    expected = ncfd(*features(), sampler.sample(rng(1)), amplitude_weight=alpha, corrected=corrected)
    assert_close(objective.discrepancy(*features(), rng(1)), expected)


def test_characteristic_matching_draws_afresh():
    objective, generator = CharacteristicMatching(GaussianFrequencies(D, K)), rng(1)
    first, second = (objective.discrepancy(*features(), generator) for _ in range(2))
    assert not bool(torch.isclose(first, second, rtol=1e-6).any())


def test_mean_matching_is_the_gap_of_the_means_and_draws_nothing():
    generator = rng(1)
    assert_close(MeanMatching().discrepancy(*features(), generator), mean_gap(*features()))
    assert torch.equal(generator.get_state(), rng(1).get_state())


def test_mean_matching_is_blind_to_spread_and_characteristic_matching_is_not():
    real = normal(0, C, N, D).float()
    real = real - real.mean(1, keepdim=True)
    generator = rng(1)
    assert_close(MeanMatching().discrepancy(real, 3 * real, generator), torch.zeros(C), atol=1e-10, rtol=0)
    assert float(gaussian()().discrepancy(real, 3 * real, generator).min()) > 0.1


def test_weight_outside_the_unit_interval():
    with pytest.raises(NcfmError, match="amplitude_weight must lie in"):
        CharacteristicMatching(GaussianFrequencies(D, K), amplitude_weight=1.5)
