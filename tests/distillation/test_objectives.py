import pytest
import torch
from torch import nn
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.config.distribution_matching import build_objective
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.discrepancy import (
    amplitude_gap,
    characteristic_function,
    gaussian_mmd,
    mean_gap,
    median_bandwidth,
    ncfd,
    paired_gap,
    phase_gap,
)
from ncfm.discrepancy.frequencies import (
    DirectFrequencies,
    GaussianFrequencies,
    ScaleMixtureFrequencies,
    StudentTFrequencies,
)
from ncfm.discrepancy.per_teacher import PerTeacherFrequencies
from ncfm.distillation import objectives
from ncfm.distillation.objectives import (
    CharacteristicMatching,
    CovarianceMatching,
    EntropicMatching,
    FisherMatching,
    KernelMatching,
    MeanMatching,
    PointMatching,
)
from oracles import covariance_gap_loop, gaussian_mmd_loop, mean_gap_loop, median_distance_loop, paired_gap_loop
from strategies import normal, rng

C, N, M, D, K = 3, 20, 8, 6, 64


def gaussian(**options):
    return lambda: CharacteristicMatching(GaussianFrequencies(D, K), **options)


def mixture(fixed_bandwidth, **options):
    def build():
        sampler = ScaleMixtureFrequencies(D, K, fixed_bandwidth=fixed_bandwidth, seed_generator=rng(0))
        return CharacteristicMatching(sampler, **options)

    return build


def per_teacher():
    samplers = [ScaleMixtureFrequencies(D, K, seed_generator=rng(i)) for i in range(2)]
    return CharacteristicMatching(PerTeacherFrequencies(samplers))


def remembering():
    """With a memory that is the same for all classes, so that they may be given in another order."""
    objective = CovarianceMatching(C, D)
    objective.remember((1 + normal(9, 1, N, D).float()).expand(C, N, D))
    return objective


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
    "mixture-halves": mixture(True, criterion="halves"),
    "mixture-per-teacher": per_teacher,
    "student": lambda: CharacteristicMatching(StudentTFrequencies(D, K)),
    "direct": lambda: CharacteristicMatching(DirectFrequencies(D, K, seed_generator=rng(0))),
    "direct-studentised": lambda: CharacteristicMatching(
        DirectFrequencies(D, K, seed_generator=rng(0)), criterion="studentised"
    ),
    "mean": MeanMatching,
    "mse": PointMatching,
    "mmd": KernelMatching,
    "mmd-fixed": lambda: KernelMatching((2.0, 4.0)),
    "dsdm": lambda: CovarianceMatching(C, D),
    "fisher": lambda: FisherMatching(GaussianFrequencies(D, K)),
    "fisher-unshrunk": lambda: FisherMatching(GaussianFrequencies(D, K), shrinkage=0.1),
    "entropic": lambda: EntropicMatching(GaussianFrequencies(D, K)),
    "entropic-unstructured": lambda: EntropicMatching(GaussianFrequencies(D, K), num_directions=0),
    "dsdm-remembering": remembering,
}
ADVERSARIAL = {name: build for name, build in OBJECTIVES.items() if name.startswith(("mixture", "direct"))}
REMEMBERING = {name: build for name, build in OBJECTIVES.items() if name.startswith("dsdm")}
# Pairs and halves have an order, and what is remembered is another sample.
UNORDERED = {name: build for name, build in OBJECTIVES.items() if not name.startswith(("mse", "entropic"))}
SEPARATE = {name: build for name, build in OBJECTIVES.items() if not build().couples_classes}
VANISHING = {name: build for name, build in UNORDERED.items() if name != "dsdm-remembering"}
every_objective = pytest.mark.parametrize("build", OBJECTIVES.values(), ids=OBJECTIVES.keys())
every_adversarial = pytest.mark.parametrize("build", ADVERSARIAL.values(), ids=ADVERSARIAL.keys())
every_remembering = pytest.mark.parametrize("build", REMEMBERING.values(), ids=REMEMBERING.keys())
every_separate = pytest.mark.parametrize("build", SEPARATE.values(), ids=SEPARATE.keys())
every_unordered = pytest.mark.parametrize("build", UNORDERED.values(), ids=UNORDERED.keys())
every_vanishing = pytest.mark.parametrize("build", VANISHING.values(), ids=VANISHING.keys())


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


@every_vanishing
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


@every_unordered
def test_order_of_the_images_does_not_matter(build):
    objective, (real, synthetic) = build(), features()
    shuffled = real[:, torch.randperm(N, generator=rng(2))], synthetic[:, torch.randperm(M, generator=rng(3))]
    assert_close(objective.discrepancy(*shuffled, rng(1)), objective.discrepancy(real, synthetic, rng(1)))


@every_separate
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
    if isinstance(objective, EntropicMatching):  # its weights move, too, and have no gradient
        assert float((after - before).detach()) < 0
    else:
        assert float((after - before).detach()) == pytest.approx(expected, rel=0.2)  # the rest is curvature


@every_objective
def test_shapes_that_do_not_fit(build):
    with pytest.raises(NcfmError, match="Expected features of shapes"):
        build().discrepancy(torch.zeros(2, 4, D), torch.zeros(3, 4, D), rng())


# ---------------------------------------------------------------- the memory


def memory(objective):
    """A copy of it."""
    return {name: value.clone() for name, value in objective.state().items()}


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def iterations(objective, seeds):
    """Discrepancies of some iterations, each remembered after it."""
    values = []
    for seed in seeds:
        real, synthetic = features(seed)
        values.append(objective.discrepancy(real, synthetic, rng(seed)).detach())
        objective.remember(real)
    return torch.stack(values)


def test_who_remembers():
    with_state = {name for name, build in OBJECTIVES.items() if build().state()}
    assert with_state == set(REMEMBERING)


@every_objective
def test_the_discrepancy_leaves_the_memory(build):
    objective = build()
    before = memory(objective)
    objective.discrepancy(*features(), rng(1))
    assert_same_bits(objective.state(), before)


@every_objective
def test_the_memory_is_filled_in_place_and_keeps_no_graph(build):
    objective, (real, _) = build(), features()
    state = objective.state()
    shapes = {name: (value.shape, value.dtype) for name, value in state.items()}
    objective.remember(real.requires_grad_())
    assert {name: (value.shape, value.dtype) for name, value in state.items()} == shapes
    assert all(value is state[name] for name, value in objective.state().items())
    assert not any(value.requires_grad for value in state.values())


@every_objective
def test_remembering_leaves_the_features(build):
    real, _ = features()
    build().remember(real)
    assert torch.equal(real, features()[0])


@every_objective
def test_the_state_is_the_whole_memory(build):
    # Stopped after three iterations and gone on with, like never stopped, to the bit.
    whole, stopped, gone_on = build(), build(), build()
    values = iterations(whole, range(20, 26))
    iterations(stopped, range(20, 23))
    for name, value in gone_on.state().items():
        value.copy_(stopped.state()[name])
    assert torch.equal(iterations(gone_on, range(23, 26)), values[3:])
    assert_same_bits(gone_on.state(), whole.state())


@every_remembering
def test_what_is_remembered_matters(build):
    objective = build()
    once, again = iterations(objective, [20, 20])
    assert not bool(torch.isclose(once, again).any())


@every_objective
def test_everything_goes_to_the_device(build):
    objective = build()
    objective.to(torch.device("meta"))
    assert all(value.device.type == "meta" for value in objective.state().values())
    real, synthetic = (z.to("meta") for z in features())
    assert objective.discrepancy(real, synthetic, rng(1)).shape == (C,)
    objective.remember(real)


# ---------------------------------------------------------------- the adversary


@every_objective
def test_gradients_reach_the_adversary_if_there_is_one(build):
    objective, (real, synthetic) = build(), features()
    value = objective.discrepancy(real, synthetic, rng(1)).sum()
    assert value.requires_grad == (objective.adversary is not None)
    if objective.adversary is not None:
        assert isinstance(objective.adversary, nn.Module)
        value.backward()
        learned = {name: p for name, p in objective.adversary.named_parameters() if p.requires_grad}
        assert learned
        for name, parameter in learned.items():
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

    before, parameters = total(), [p for p in objective.adversary.parameters() if p.requires_grad]
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


def test_point_matching_is_the_gap_of_pairs_and_draws_nothing():
    generator = rng(1)
    assert_close(PointMatching().discrepancy(*features(), generator), paired_gap(*features()))
    assert torch.equal(generator.get_state(), rng(1).get_state())


def doubles(seed=0, n=7, m=4, d=3, classes=2):
    """Small features in double, for loops and numerical gradients."""
    return normal(seed, classes, n, d), 0.5 + 1.5 * normal(seed + 1, classes, m, d)


@pytest.mark.parametrize("d", [2, 15])
def test_every_class_equals_the_loop(d):
    real, synthetic = doubles(d=d)
    covariances = CovarianceMatching(2, d, covariance_weight=0.7, history_weight=0.3, decay=0.5)
    covariances.remember(real + 2)
    for i, (x, y) in enumerate(zip(real, synthetic, strict=True)):
        median = median_distance_loop(x, y)
        kernels = [gaussian_mmd_loop(x, y, factor * median) for factor in (0.5, 1.0, 2.0)]
        few = [gaussian_mmd_loop(x, y, factor * median) for factor in (0.3, 3.0)]
        fixed = [gaussian_mmd_loop(x, y, bandwidth) for bandwidth in (0.4, 1.1, 5.0)]
        three = mean_gap_loop(x, y) + 0.7 * covariance_gap_loop(x, y) + 0.3 * mean_gap_loop(x + 2, y)
        for objective, slow in [
            (PointMatching(), paired_gap_loop(x, y)),
            (KernelMatching(), sum(kernels) / 3),
            (KernelMatching(factors=[0.3, 3.0]), sum(few) / 2),
            (KernelMatching([0.4, 1.1, 5.0]), sum(fixed) / 3),
            (CovarianceMatching(2, d), mean_gap_loop(x, y) + covariance_gap_loop(x, y)),
        ]:
            assert float(objective.discrepancy(real, synthetic, rng())[i]) == pytest.approx(slow, abs=1e-10)
        # The memory is in single precision.
        assert float(covariances.discrepancy(real, synthetic, rng())[i]) == pytest.approx(three, rel=1e-6)


@pytest.mark.parametrize("d", [2, 15])
def test_gradients_of_the_objectives_without_frequencies(d):
    real, synthetic = doubles(d=d)
    covariances = CovarianceMatching(2, d, covariance_weight=0.7, history_weight=0.3)
    covariances.remember(real + 2)
    for objective in (PointMatching(), KernelMatching([0.5, 2.0]), covariances):
        assert torch.autograd.gradcheck(
            lambda y, objective=objective: objective.discrepancy(real, y, rng()), synthetic.requires_grad_()
        )


def test_the_gradient_of_kernel_matching_is_that_at_its_bandwidths():
    real, synthetic = doubles()
    synthetic.requires_grad_()
    value = KernelMatching(factors=(0.3, 3.0)).discrepancy(real, synthetic, rng()).sum()
    widths = median_bandwidth(real, synthetic.detach())[:, None] * torch.tensor([0.3, 3.0])
    fixed = gaussian_mmd(real, synthetic, bandwidth=widths).sum()
    gradients = (torch.autograd.grad(v, synthetic)[0] for v in (value, fixed))
    assert_close(*gradients, rtol=1e-6, atol=1e-9)


def test_kernel_matching_takes_its_distances_from_products(monkeypatch):
    monkeypatch.delattr(torch, "cdist")  # the slow way
    for objective in (KernelMatching(), KernelMatching([1.5])):
        assert float(objective.discrepancy(*features(), rng()).min()) > 0.05


def test_kernel_matching_does_not_depend_on_the_scale_of_the_features():
    real, synthetic = doubles()
    small, large = (KernelMatching().discrepancy(s * real, s * synthetic, rng()) for s in (1e-3, 1e3))
    assert_close(small, large)
    fixed = [KernelMatching([1.0]).discrepancy(s * real, s * synthetic, rng()) for s in (1e-3, 1e3)]
    assert float(fixed[0].max()) < 1e-3 * float(fixed[1].min())


def test_kernel_matching_of_collapsed_features_is_finite():
    real, synthetic = torch.full((1, 5, 3), 0.1), torch.full((1, 4, 3), 0.1, requires_grad=True)
    value = KernelMatching().discrepancy(real, synthetic, rng())
    value.sum().backward()
    assert float(value.detach()) == 0
    assert float(synthetic.grad.abs().max()) == 0


def test_covariance_matching_without_weights_is_mean_matching():
    pair = features()
    objective = CovarianceMatching(C, D, covariance_weight=0, history_weight=0)
    objective.remember(pair[0] + 1)
    assert torch.equal(objective.discrepancy(*pair, rng()), MeanMatching().discrepancy(*pair, rng()))


def test_covariance_matching_sees_spread_and_orientation():
    x = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    turned = torch.tensor([[[1.0, -1.0], [-1.0, 1.0]]])
    objective = CovarianceMatching(1, 2)
    # Covariances (1, 1; 1, 1), (1, -1; -1, 1) and, of twice x, (4, 4; 4, 4).
    assert_close(objective.discrepancy(x, turned, rng()), torch.tensor([8.0]))
    assert_close(objective.discrepancy(x, 2 * x, rng()), torch.tensor([36.0]))
    assert MeanMatching().discrepancy(x, turned, rng()).tolist() == [0.0]


def with_means(*means):
    """Real features of one dimension and two rows whose class means are these."""
    return torch.tensor([[[mean - 1.0], [mean + 1.0]] for mean in means])


def test_the_memory_by_hand():
    # Steps of 1, 1/2 and 1 - .6: 1 -> (1 + 3) / 2 = 2 -> 2 + .4 (6 - 2) = 3.6 -> 3.6 + .4 (0 - 3.6).
    objective = CovarianceMatching(2, 1, history_weight=0.5, decay=0.6)
    still = with_means(0, 0)
    assert objective.discrepancy(still, still, rng()).tolist() == [0.0, 0.0]  # nothing to remember yet
    steps = [((1, 10), (1, 10)), ((3, 20), (2, 15)), ((6, 60), (3.6, 33)), ((0, 0), (2.16, 19.8))]
    for number, (means, remembered) in enumerate(steps, start=1):
        objective.remember(with_means(*means))
        expected = torch.tensor(remembered, dtype=torch.float32)
        assert_close(objective.state(), {"mean": expected[:, None], "iterations": torch.tensor(number)})
        assert_close(objective.discrepancy(still, still, rng()), 0.5 * expected.square())
        assert_close(objective.discrepancy(still, still + 1, rng()), 1 + 0.5 * (expected - 1).square())


@pytest.mark.parametrize(("decay", "remembered"), [(0.0, 6.0), (1.0, 10 / 3)])
def test_the_memory_of_the_last_iteration_and_of_all(decay, remembered):
    objective = CovarianceMatching(1, 1, decay=decay)
    for mean in (1, 3, 6):
        objective.remember(with_means(mean))
    assert float(objective.state()["mean"]) == pytest.approx(remembered)


def test_a_long_memory_forgets_at_its_rate():
    objective = CovarianceMatching(1, 1, decay=0.9)
    for _ in range(10):
        objective.remember(with_means(1))
    for number in range(1, 31):
        objective.remember(with_means(0))
        assert float(objective.state()["mean"]) == pytest.approx(0.9**number, rel=1e-4)


@pytest.mark.parametrize("shape", [(1, 5, 4), (2, 5, 3), (5, 4)])
def test_features_of_other_classes_or_width(shape):
    # One class would pass for both, and its gap from the memory of two would be two numbers.
    objective, other = CovarianceMatching(2, 4), torch.zeros(shape)
    for use in (lambda: objective.remember(other), lambda: objective.discrepancy(other, other, rng())):
        with pytest.raises(NcfmError, match=r"Expected features of 2 classes and width 4, got shape"):
            use()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CovarianceMatching(0, 4), "num_classes must be at least 1, got 0"),
        (lambda: CovarianceMatching(2, 0), "num_features must be at least 1, got 0"),
        (lambda: CovarianceMatching(2, 4, covariance_weight=-1), "covariance_weight must be at least 0, got -1"),
        (lambda: CovarianceMatching(2, 4, history_weight=-1), "history_weight must be at least 0, got -1"),
        (lambda: CovarianceMatching(2, 4, decay=1.1), r"decay must lie in \[0, 1\], got 1.1"),
        (lambda: KernelMatching([]), "number of bandwidths must be at least 1, got 0"),
        (lambda: KernelMatching([1.0, 0.0]), "bandwidth must be above 0, got 0.0"),
        (lambda: KernelMatching(factors=[]), "number of bandwidth factors must be at least 1, got 0"),
        (lambda: KernelMatching(factors=[-1.0]), "bandwidth factor must be above 0, got -1.0"),
    ],
)
def test_settings_that_make_no_sense(build, message):
    with pytest.raises(NcfmError, match=message):
        build()


# ---------------------------------------------------------------- from the configuration


def built(**settings):
    return build_objective(make_config(nest(settings)), D, C)


def test_objectives_are_built_by_name_with_their_settings():
    kinds = {
        "ncfd": CharacteristicMatching,
        "mean": MeanMatching,
        "mse": PointMatching,
        "mmd": KernelMatching,
        "dsdm": CovarianceMatching,
        "fisher": FisherMatching,
        "entropic": EntropicMatching,
    }
    assert kinds.keys() == objectives.OBJECTIVES.keys()
    for name, kind in kinds.items():
        assert type(built(**{"objective.name": name, "frequencies.family": "gaussian"})) is kind
    fixed = {"frequencies.family": "gaussian", "frequencies.number": 7}
    fisher = built(**{"objective.name": "fisher", "objective.shrinkage": 0.1} | fixed)
    assert (fisher.shrinkage, fisher.frequencies.num_frequencies) == (0.1, 7)
    entropic = built(
        **{"objective.name": "entropic", "objective.weight_temperature": 3, "objective.num_directions": 5} | fixed
    )
    assert (entropic.weight_temperature, entropic.num_directions) == (3, 5)
    with pytest.raises(NcfmError, match=r"frequencies\.family=gaussian"):
        built(**{"objective.name": "fisher", "frequencies.family": "mixture"})
    kernel = built(**{"objective.name": "mmd", "objective.bandwidth_factors": [0.25, 4]})
    assert (kernel.bandwidths, kernel.factors) == (None, (0.25, 4.0))
    assert built(**{"objective.name": "mmd", "objective.bandwidths": [1.5]}).bandwidths == (1.5,)
    assert built(**{"objective.name": "mmd"}).factors == KernelMatching().factors
    settings = {"covariance_weight": 2, "history_weight": 3, "history_decay": 0.25}
    dsdm = built(**{"objective.name": "dsdm"} | {f"objective.{key}": value for key, value in settings.items()})
    assert (dsdm.covariance_weight, dsdm.history_weight, dsdm.decay) == (2, 3, 0.25)
    assert dsdm.state()["mean"].shape == (C, D)
    # A default written twice is one default.
    default, own = built(**{"objective.name": "dsdm"}), CovarianceMatching(C, D)
    assert all(getattr(default, key) == getattr(own, key) for key in ("covariance_weight", "history_weight", "decay"))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("bandwidths", []),
        ("bandwidths", [1.0, 0.0]),
        ("bandwidth_factors", [-1.0]),
        ("bandwidth_factors", []),
        ("covariance_weight", -1),
        ("history_weight", -1),
        ("history_decay", 1.5),
        ("shrinkage", 0),
        ("weight_temperature", 0),
        ("num_directions", -1),
        ("name", "mnd"),
    ],
)
def test_settings_out_of_range(setting, value):
    with pytest.raises(NcfmError, match=rf"objective\.{setting}"):
        make_config({"objective": {setting: value}})


@every_objective
def test_only_frequencies_are_diagnosed(build):
    objective, (real, synthetic) = build(), features()
    found = objective.diagnose(real, synthetic, rng(7)), objective.spectrum(rng(7))
    assert objective.has_frequencies == hasattr(objective, "sampler")
    assert [one is not None for one in found] == [objective.has_frequencies] * 2


@every_objective
def test_the_check_of_outside_objectives_passes_all(build):
    objective = build()
    assert objectives.check_objective(objective, "mine:make", C, D) is objective


def test_a_plain_objective_needs_a_discrepancy():
    with pytest.raises(TypeError, match=r"abstract.*discrepancy"):
        objectives.PlainObjective()


@every_objective
def test_what_is_measured_is_the_discrepancy_to_the_bit(build):
    objective, (real, synthetic) = build(), features()
    measured, expected = objective.measure(real, synthetic, rng(7)), objective.discrepancy(real, synthetic, rng(7))
    if measured.criterion is None:
        assert torch.equal(measured.discrepancy, expected)
    else:  # the whole batch is then made of its halves
        assert_close(measured.discrepancy, expected)
    parts = measured[1:]
    assert all(part is None for part in parts) != hasattr(objective, "sampler")


@pytest.mark.parametrize("corrected", [False, True])
def test_the_parts_are_the_gaps_of_amplitude_and_phase(corrected):
    sampler = GaussianFrequencies(D, 32)
    objective = CharacteristicMatching(sampler, amplitude_weight=0.3, corrected=corrected)
    real, synthetic = features()
    measured = objective.measure(real, synthetic.requires_grad_(), rng(7))
    t = sampler.sample(rng(7))
    phi_x, phi_y = characteristic_function(real, t), characteristic_function(synthetic, t)
    sizes = (real.shape[-2], synthetic.shape[-2]) if corrected else None
    assert_close(measured.amplitude, amplitude_gap(phi_x, phi_y, sample_sizes=sizes).mean(-1).detach())
    assert_close(measured.phase, phase_gap(phi_x, phi_y).mean(-1).detach())
    assert not measured.amplitude.requires_grad
    assert not measured.phase.requires_grad
