"""One iteration of the min-max: who moves, which way, by whose gradient, and on what data."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from ncfm import kernels
from ncfm._utils.checks import NcfmError
from ncfm._utils.device import cpp_compiler
from ncfm._utils.seeding import Streams
from ncfm.data.image_set import ImageSplit, draw_class_batches, to_float
from ncfm.discrepancy import ROOT_EPSILON
from ncfm.discrepancy.frequencies import GaussianFrequencies
from ncfm.distillation import Player, ascend
from ncfm.distillation import distribution_matching as loop
from ncfm.distillation import minmax_step as step
from ncfm.distillation.budget import Budget
from ncfm.distillation.objectives import CharacteristicMatching, CovarianceMatching, FisherMatching, MeanMatching
from ncfm.training.clusters import cluster_classes
from oracles_step import iteration_loop
from strategies import rng
from tiny import WIDTH, Frozen, Recorder, distill, few, make_step, mixture, random_pool


@pytest.fixture(scope="module")
def images(digits):
    return few(digits)


@pytest.fixture(scope="module")
def pool(images):
    return random_pool(images)


@pytest.fixture
def make(images, pool):
    return lambda **options: make_step(images, pool, **options)


def clones(tensors):
    return [t.detach().clone() for t in tensors]


def equal(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def drawn(played):
    """Draw what an iteration draws first, in its order: extractor, augmentation, real features."""
    played.pool.draw(played.streams["teachers"])
    stored = played.images.tensors[0]
    draw = played.augment.draw(len(stored), stored.shape[-1], played.streams["augment"])
    return played.real_features(draw, played.streams["batches"]), draw


def discrepancy_now(played, real, draw, generator_state):
    """Discrepancies (C,) of the images as they are, at the frequencies that the given state draws."""
    generator = torch.Generator()
    generator.set_state(generator_state)
    with torch.no_grad():
        synthetic = played.features_of(played.training_images(draw))
        return played.objective.discrepancy(real, synthetic, generator)


# --- BatchNorm extractors -----------------------------------------------------------------------------------

BATCH = "convnet1w8-batch"


def batch_norm_step(images, **options):
    return make_step(images, random_pool(images, network=BATCH), **options)


def test_batch_norm_statistics_are_those_of_the_iterations_real_images(images):
    played = batch_norm_step(images, real_batch_per_class=6, chunk_size=16)
    layer, convolution = played.pool.blended.blocks[1], played.pool.blended.blocks[0]
    drawn(played)
    after = clones([layer.running_mean, layer.running_var])
    # The same again by hand: 60 images in batches of 16, the last of 12; mean of the batches' statistics.
    again = batch_norm_step(images, real_batch_per_class=6, chunk_size=16)
    again.pool.draw(again.streams["teachers"])
    draw = again.augment.draw(10, 8, again.streams["augment"])
    at = draw_class_batches(images.train, 6, again.streams["batches"])
    seen = again._real_images(images.train, at, draw).transpose(0, 1).flatten(0, 1)
    maps = [convolution(part).detach() for part in seen.split(16)]
    assert_close(after[0], torch.stack([m.mean((0, 2, 3)) for m in maps]).mean(0), atol=1e-5, rtol=1e-4)
    assert_close(after[1], torch.stack([m.var((0, 2, 3)) for m in maps]).mean(0), atol=1e-5, rtol=1e-4)
    assert not layer.training


def test_blended_batch_norm_statistics_stay_blended(images):
    played = batch_norm_step(images, batch_norm="blended")
    drawn(played)
    layer = played.pool.blended.blocks[1]
    assert torch.equal(layer.running_mean, torch.zeros(8))  # of random weights that have seen nothing
    assert torch.equal(layer.running_var, torch.ones(8))


def test_each_iteration_collects_its_own_statistics(images):
    played = batch_norm_step(images)
    layer = played.pool.blended.blocks[1]
    seen = []
    for _ in range(2):
        played()
        seen += clones([layer.running_mean])
    assert not torch.equal(*seen)


def test_one_real_image_a_class_is_enough_for_batch_norm(images):
    played = batch_norm_step(images, real_batch_per_class=1, chunk_size=1)
    record = played()
    assert torch.isfinite(record.discrepancy)


def test_networks_without_batch_norm_pay_nothing(images, pool, monkeypatch):
    monkeypatch.setattr(step, "recompute_batch_norms", lambda *a: pytest.fail("nothing to recompute"))
    make_step(images, pool)()


# --- each player alone --------------------------------------------------------------------------------------


def test_an_ascent_raises_the_discrepancy_moves_all_of_psi_and_leaves_the_images(make):
    played = make()
    real, draw = drawn(played)
    psi, pixels = clones(played.adversary.tensors), clones(played.images.tensors)
    synthetic = played.features_of(played.training_images(draw))  # with its graph: ascend must cut it
    noise = played.streams["frequencies"].get_state()
    before = ascend(played.objective, played.adversary, real, synthetic, played.streams["frequencies"])
    assert before.shape == (10,)
    assert not before.requires_grad
    assert discrepancy_now(played, real, draw, noise).sum() > before.sum()
    assert not any(torch.equal(a, b) for a, b in zip(psi, played.adversary.tensors, strict=True))
    assert equal(pixels, played.images.tensors)
    assert played.images.tensors[0].grad is None


@pytest.mark.parametrize("weights", [(1.0, 0.0), (1.0, 1.0)])
def test_a_descent_lowers_the_loss_and_leaves_psi(make, weights):
    matching, calibration = weights
    played = make(lr=1e-3, matching_weight=matching, calibration_weight=calibration)
    real, draw = drawn(played)
    psi = clones(played.adversary.tensors)
    state = {name: played.streams[name].get_state() for name in ("frequencies", "calibration")}
    before = played.descend(real, draw)
    assert equal(psi, played.adversary.tensors)
    assert all(p.grad is None for p in played.adversary.tensors)
    played.streams.load_state(state)
    after = played.descend(real, draw)

    def loss(record):
        return matching * 10 * record.discrepancy + calibration * record.calibration  # 10 classes

    assert loss(after) < loss(before)


@pytest.mark.parametrize("weights", [(1.0, 0.0), (0.0, 1.0), (3.0, 0.0), (0.0, 2.0)])
def test_weights_leave_exactly_one_term(make, weights):
    matching, calibration = weights
    played = make(player=Frozen, matching_weight=matching, calibration_weight=calibration)
    played()
    other = make(calibration_weight=1.0)
    real, draw = drawn(other)
    training = other.training_images(draw)
    if calibration:
        other.pool.draw_trained(other.streams["calibration"])
        term = calibration * other.calibrate(training)
    else:
        synthetic = other.features_of(training)
        term = matching * other.objective.discrepancy(real, synthetic, other.streams["frequencies"]).sum()
    (expected,) = torch.autograd.grad(term, other.images.tensors)
    assert expected.abs().max() > 0
    assert_close(played.images.gradients[0][0], expected, rtol=1e-5, atol=1e-7 * float(expected.abs().max()))


def test_no_calibration_draws_no_teacher(make, pool, monkeypatch):
    monkeypatch.setattr(pool, "draw_trained", lambda _: pytest.fail("a teacher was drawn for nothing"))
    record = make(calibration_weight=0.0)()
    assert record.calibration == 0


# --- both at once: the published code adds the gradients of loss and -loss in one buffer, where they cancel -


def test_together_each_player_gets_its_own_gradient(make):
    played = make(player=Frozen, matching_weight=10.0)
    played()
    separate = make(matching_weight=10.0)
    real, draw = drawn(separate)
    training = separate.training_images(draw)
    synthetic = separate.features_of(training)
    noise = separate.streams["frequencies"].get_state()

    psi = copy.deepcopy(separate.objective.sampler)
    frozen = CharacteristicMatching(psi.requires_grad_(False))
    discrepancy = frozen.discrepancy(real, synthetic, separate.streams["frequencies"]).sum()
    separate.pool.draw_trained(separate.streams["calibration"])
    loss = 10 * discrepancy + separate.calibrate(training)
    (of_images,) = torch.autograd.grad(loss, separate.images.tensors)

    separate.streams.load_state({"frequencies": noise})
    value = separate.objective.discrepancy(real, synthetic.detach(), separate.streams["frequencies"]).sum()
    of_psi = torch.autograd.grad(10 * value, separate.adversary.tensors)

    for found, expected in zip(
        [*played.images.gradients[0], *played.adversary.gradients[0]], [of_images, *of_psi], strict=True
    ):
        assert expected.abs().max() > 0  # nothing has cancelled
        assert_close(found, expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_together_the_images_go_down_and_psi_goes_up(make):
    played = make(player=Recorder, lr=1e-3)
    before = clones([*played.images.tensors, *played.adversary.tensors])
    played()
    after = clones([*played.images.tensors, *played.adversary.tensors])
    gradients = [*played.images.gradients[0], *played.adversary.gradients[0]]
    slopes = [float(((b - a) * g).sum()) for a, b, g in zip(before, after, gradients, strict=True)]
    assert slopes[0] < 0
    assert all(slope > 0 for slope in slopes[1:])


def test_one_of_each_share_a_single_pass(make, monkeypatch):
    played = make(player=Recorder)
    passes = []
    features_of = played.features_of
    monkeypatch.setattr(played, "features_of", lambda *given: (passes.append(1), features_of(*given))[1])
    played()
    assert len(passes) == 1


@pytest.mark.parametrize("ascent_steps", [1, 3])
def test_calibration_says_nothing_to_psi(make, ascent_steps):
    gradients = []
    for weight in (0.0, 5.0):
        played = make(player=Frozen, calibration_weight=weight, ascent_steps=ascent_steps)
        played()
        gradients.append(played.adversary.gradients)
    assert all(equal(a, b) for a, b in zip(*gradients, strict=True))


# --- how often ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [(1, 1), (0, 1), (0, 3), (5, 1), (1, 5), (2, 2)])
def test_moves_are_counted(make, monkeypatch, steps):
    ascents, descents = steps
    played = make(player=Recorder, ascent_steps=ascents, descent_steps=descents)
    batches = []
    features_at = played._features_at
    monkeypatch.setattr(played, "_features_at", lambda *given: (batches.append(1), features_at(*given))[1])
    psi = clones(played.adversary.tensors)
    for _ in range(2):
        played()
    assert len(played.adversary.gradients) == 2 * ascents
    assert len(played.images.gradients) == 2 * descents
    assert len(batches) == 2  # the real features are computed once an iteration
    assert equal(psi, played.adversary.tensors) == (ascents == 0)


def test_the_adversary_moves_first(make):
    order = []
    played = make(ascent_steps=2, descent_steps=1)
    for name in ("images", "adversary"):
        getattr(played, name).optimizer.register_step_post_hook(lambda *_, name=name: order.append(name))
    played()
    assert order == ["adversary", "adversary", "images"]


def test_an_objective_without_adversary_only_descends(make):
    for objective in (MeanMatching(), CharacteristicMatching(GaussianFrequencies(WIDTH, 16))):
        played = make(player=Recorder, objective=objective, ascent_steps=5, descent_steps=2)
        played()
        assert played.adversary is None
        assert len(played.images.gradients) == 2


@pytest.mark.parametrize("changes", [{"ascent_steps": -1}, {"descent_steps": 0}])
def test_impossible_numbers_of_moves_are_refused(make, changes):
    with pytest.raises(NcfmError, match=f"{next(iter(changes))} must be at least"):
        make(**changes)


# --- a step per class, as the published code does it -------------------------------------------------------


@pytest.mark.parametrize("classes_per_step", [1, 3])
def test_parts_of_the_classes_add_up_to_all_of_them(images, classes_per_step):
    pool = random_pool(images, number=1)
    options = {"objective": MeanMatching(), "player": Frozen, "matching_weight": 3.0}
    whole = make_step(images, pool, **options)
    parted = make_step(images, pool, **options, classes_per_step=classes_per_step)
    expected, found = whole(), parted()
    gradients = [moved for (moved,) in parted.images.gradients]
    assert len(gradients) == -(-10 // classes_per_step)
    for index, gradient in enumerate(gradients):  # a move sees its own classes alone
        own = slice(index * classes_per_step, (index + 1) * classes_per_step)
        assert gradient[own].abs().amax((1, 2, 3, 4)).min() > 0
        assert torch.count_nonzero(gradient) == torch.count_nonzero(gradient[own])
    assert_close(sum(gradients), whole.images.gradients[0][0], rtol=1e-4, atol=1e-7)
    assert float(found.discrepancy) == pytest.approx(float(expected.discrepancy), rel=1e-5)
    assert float(found.calibration) == pytest.approx(float(expected.calibration), rel=1e-5)


def test_a_step_per_class_moves_images_by_zero_gradients(make):
    rate = 1e-3
    moved = []
    for classes_per_step in (None, 1):
        played = make(lr=rate, classes_per_step=classes_per_step, calibration_weight=0.0)
        (before,) = clones(played.images.tensors)
        played()
        moved.append((played.images.tensors[0] - before).detach().abs().amax((1, 2, 3, 4)) / rate)
    assert_close(moved[0], torch.ones(10), rtol=1e-3, atol=0)  # Adam's first step is the rate
    # A class has a gradient g in one move, s, and zeros in those after it, in which m and v decay:
    #   sum over t = s .. 10 of  (1 - a) a^(t-s) g / (1 - a^t)  /  sqrt((1 - b) b^(t-s) g^2 / (1 - b^t)).
    a, b = 0.9, 0.999
    expected = [
        sum((1 - a) * a ** (t - s) / (1 - a**t) / ((1 - b) * b ** (t - s) / (1 - b**t)) ** 0.5 for t in range(s, 11))
        for s in range(1, 11)
    ]
    assert_close(moved[1], torch.tensor(expected), rtol=2e-3, atol=0)


def test_the_adversary_moves_with_every_part(make):
    played = make(player=Recorder, classes_per_step=4)
    played()
    assert len(played.adversary.gradients) == len(played.images.gradients) == 3


def test_parts_are_refused_where_they_cannot_be(make):
    for options in ({"compile_step": True}, {"objective": CovarianceMatching(10, WIDTH)}):
        with pytest.raises(NcfmError, match=r"distill\.classes_per_step is for one process"):
            make(classes_per_step=2, **options)
    with pytest.raises(NcfmError, match="classes_per_step must be at least"):
        make(classes_per_step=0)


# --- all classes in one pass equal a loop over them ---------------------------------------------------------


@pytest.mark.parametrize(
    "case",
    [
        {"factor": 2, "mode": "single", "ipc": 1},
        {"factor": 1, "mode": "single", "ipc": 2},
        {"factor": 2, "mode": "multi", "ipc": 1},
        {"factor": 2, "mode": "bounded", "ipc": 2, "bound": 5},
    ],
    ids=lambda c: f"{c['mode']}{c['factor']}",
)
def test_the_batched_step_equals_a_loop_over_classes(make, images, pool, case):
    played = make(player=Recorder, matching_weight=2.0, calibration_weight=0.5, **case)
    played()  # the second iteration is compared: its images have moved, so stale ones would show
    # The same draws for the reference, from streams of the same state.
    streams = Streams(0)
    streams.load_state(played.streams.state())
    pixels = played.images.tensors[0].detach().double().requires_grad_()
    sampler = copy.deepcopy(played.objective.sampler)
    record = played()

    pool.draw(streams["teachers"])
    pool.draw_trained(streams["calibration"])
    parameters = played.augment.draw(10, 8, streams["augment"])
    at = draw_class_batches(images.train, 4, streams["batches"])
    real = [images.train.images[row].double() / 255 for row in at]
    discrepancy, cross_entropy = iteration_loop(
        pixels,
        real,
        sampler.sample(streams["frequencies"]).detach().double(),
        pool=pool,
        augment=played.augment,
        parameters=parameters,
        factor=case["factor"],
        mode=case["mode"],
        bound=case.get("bound", 128),
        alpha=0.5,
        epsilon=ROOT_EPSILON,
    )
    assert float(record.discrepancy) == pytest.approx(discrepancy.item() / 10, rel=1e-5)
    assert float(record.calibration) == pytest.approx(cross_entropy.item(), rel=1e-5)
    (expected,) = torch.autograd.grad(2 * discrepancy + 0.5 * cross_entropy, pixels)
    found = played.images.gradients[1][0].double()
    # The step is float32, so its rounding is relative to the largest entry, not to each; measured: 7e-6 at most.
    assert_close(found, expected, rtol=1e-5, atol=2e-5 * float(expected.abs().max()))


def test_one_optimizer_step_an_iteration_serves_all_classes(make):
    # The published code steps once a class over the whole tensor, so Adam's moments decay on other classes' zeros.
    played = make(player=Recorder)
    for _ in range(3):
        played()
    (state,) = played.images.optimizer.state.values()
    assert int(state["step"]) == 3
    assert all(g.flatten(1).abs().amax(1).min() > 0 for (g,) in played.images.gradients)  # every class, every move


# --- passes of some classes ---------------------------------------------------------------------------------


def moved(played):
    """Measurements of an iteration, and the gradients of both players."""
    record = played()
    adversary = [] if played.adversary is None else played.adversary.gradients[0]
    return record, [*played.images.gradients[0], *adversary]


OBJECTIVES = {
    "mixture": mixture,
    "halves": lambda: mixture(criterion="halves"),
    "gaussian": lambda: CharacteristicMatching(GaussianFrequencies(WIDTH, 32)),
    "mean": MeanMatching,
}


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("size", [2, 5, 7, 30])
def test_passes_of_some_classes_give_the_gradients_of_one_pass(images, double, objective, size):
    """4 images a class: a class is cut, a class a pass, seven images hold one class, several classes a pass."""
    options = {"player": Frozen, "ipc": 4, "matching_weight": 3.0, "calibration_weight": 0.5, "real_batch_per_class": 5}
    found = []
    for chunk in (None, size):
        played = make_step(
            images, random_pool(images), objective=OBJECTIVES[objective](), gradient_chunk_size=chunk, **options
        )
        found.append(moved(double(played)))
        assert len(played.passes()) == {None: 1, 2: 10, 5: 10, 7: 10, 30: 2}[chunk]
    (expected, gradients), (record, parts) = found
    for value, other in zip(record, expected, strict=True):
        assert value is other is None or float(value) == pytest.approx(float(other), rel=1e-12)
    for part, whole in zip(parts, gradients, strict=True):
        assert whole.abs().max() > 0
        assert_close(part, whole, rtol=1e-9, atol=1e-12 * float(whole.abs().max()))


@pytest.mark.parametrize("more", [{"calibration_reduction": "sum"}, {"calibration_step": "separate"}])
def test_calibrations_of_other_forms_are_those_of_one_pass(images, double, more):
    found = []
    for chunk in (None, 8):
        played = double(make_step(images, random_pool(images), player=Frozen, ipc=4, gradient_chunk_size=chunk, **more))
        record = played()
        found.append((float(record.calibration), [gradient for (gradient,) in played.images.gradients]))
    (expected, gradients), (calibration, parts) = found
    assert calibration == pytest.approx(expected, rel=1e-12)
    assert len(parts) == len(gradients) == (2 if "calibration_step" in more else 1)
    for part, whole in zip(parts, gradients, strict=True):
        assert_close(part, whole, rtol=1e-9, atol=1e-12 * float(whole.abs().max()))


@pytest.fixture
def double(monkeypatch):
    """A step in double precision, from the images to the gradients."""
    monkeypatch.setattr(step, "to_float", lambda stored: stored.double() / 255)

    def convert(played):
        pixels = played.images.tensors[0]
        pixels.data = pixels.data.double()
        for module in (played.pool.blended, played.pool.whole, played.objective.adversary):
            if module is not None:
                module.double()
        played.normalize = lambda x: (x - 0.5) / 0.25
        return played

    return convert


@pytest.mark.parametrize("ascent_steps", [0, 1, 3])
def test_the_frequencies_are_drawn_once_for_all_passes(make, monkeypatch, ascent_steps):
    played = make(ipc=4, gradient_chunk_size=8, ascent_steps=ascent_steps)
    draws, sample = [], played.objective.sampler.sample
    monkeypatch.setattr(played.objective.sampler, "sample", lambda g: (draws.append(1), sample(g))[1])
    played()
    assert len(played.passes()) == 5
    assert len(draws) == 1 + (ascent_steps if ascent_steps > 1 else 0)


def test_an_iteration_in_one_pass_ends_with_the_generator_of_one_in_many(make):
    states = []
    for chunk in (None, 4):
        for objective in (mixture(), MeanMatching()):
            played = make(ipc=2, objective=objective, gradient_chunk_size=chunk)
            played()
            states.append(played.streams["frequencies"].get_state())
    assert torch.equal(states[0], states[2])
    assert torch.equal(states[1], states[3])


def test_objectives_that_compare_or_remember_classes_take_all_in_one_pass(make):
    for objective in (CovarianceMatching(10, WIDTH), FisherMatching(GaussianFrequencies(WIDTH, 8))):
        played = make(ipc=4, objective=objective, gradient_chunk_size=8)
        assert played.passes() == [step.ALL]
        assert torch.isfinite(played().discrepancy)


# --- data ---------------------------------------------------------------------------------------------------


def test_real_batches_are_fresh_and_from_the_whole_class(make, monkeypatch):
    batches = []

    def spy(*arguments):
        batches.append(draw_class_batches(*arguments))
        return batches[-1]

    monkeypatch.setattr(step, "draw_class_batches", spy)
    played = make(real_batch_per_class=2)
    for _ in range(30):
        played()
    assert all(b.shape == (10, 2) for b in batches)
    assert not any(torch.equal(a, b) for a, b in itertools.pairwise(batches))
    # 30 draws of 2 out of 8 miss a given image with probability (3/4)^30 = 2e-4; this seed misses none.
    for label in range(10):
        seen = torch.cat([b[label] for b in batches]).unique()
        assert seen.tolist() == list(range(8 * label, 8 * label + 8))


def test_real_features_carry_no_gradient(make):
    played = make()
    real, _ = drawn(played)
    assert real.shape == (10, 4, WIDTH)
    assert not real.requires_grad
    assert_close(real.norm(dim=-1), torch.ones(10, 4))


def test_an_iteration_reads_no_number_back_but_what_it_drew(make):
    # On a GPU every such reading waits for all that was launched before it. The host draws a teacher and its blending
    # for matching, a teacher for calibration, and looks twice at the smallest class and once at the largest; the
    # optimizers count their steps on the host, one counter a tensor.
    class Readings(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            if function.overloadpacket in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero):
                Readings.count += 1
            return function(*args, **kwargs or {})

    played = make(ipc=2, factor=2)
    played()  # first calls may fill caches
    with Readings():
        played()
    assert Readings.count == 3 + 3 + len(played.images.tensors) + len(played.adversary.tensors)


@pytest.mark.parametrize("at_once", [1, 4, 10, 30])
def test_real_images_gathered_in_parts_have_the_same_features(make, at_once):
    """10 classes of 4: single images, one class, one row of all classes, three rows."""
    whole, parts = make(), make()
    seen = []
    features_at = parts._features_at
    parts._features_at = lambda at, draw: (seen.append(at.numel()), features_at(at, draw))[1]
    parts.extract.chunk_size = 1
    batch = parts.real_batch(drawn_augmentation(parts), parts.streams["batches"])
    batch._at_once = at_once
    assert_close(batch[step.ALL], drawn(whole)[0], atol=1e-5, rtol=1e-5)
    assert sum(seen) == 40
    assert max(seen) <= at_once


def drawn_augmentation(played):
    """Draw an extractor and an augmentation, as an iteration does."""
    played.pool.draw(played.streams["teachers"])
    stored = played.images.tensors[0]
    return played.augment.draw(len(stored), stored.shape[-1], played.streams["augment"])


def test_features_of_some_classes_are_those_of_all(make):
    played = make()
    batch = played.real_batch(drawn_augmentation(played), played.streams["batches"])
    assert_close(batch[slice(3, 7)], batch[step.ALL][3:7], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("normalize_features", [True, False])
def test_both_halves_of_a_class_are_augmented_alike(make, images, normalize_features):
    played = make(ipc=4, normalize_features=normalize_features)
    batch = Streams(0)["batches"]  # as the step will draw it
    at = draw_class_batches(images.train, 4, batch)
    with torch.no_grad():
        played.images.tensors[0].copy_(to_float(images.train.images[at]))
    real, draw = drawn(played)
    synthetic = played.features_of(played.training_images(draw))
    # Sums over one large or several small passes may differ in their last bits; another augmentation differs by 0.1.
    assert_close(synthetic.detach(), real, rtol=1e-4, atol=1e-5)
    assert played.objective.discrepancy(real, synthetic, rng(0)).max().item() < 1e-3
    other = played.features_of(played.training_images(played.augment.draw(10, 8, rng(1))))
    assert played.objective.discrepancy(real, other, rng(0)).min().item() > 0.01


def test_images_stay_in_range(make):
    played = make(lr=10.0, descent_steps=2)
    for _ in range(2):
        played()
        pixels = played.images.tensors[0]
        assert pixels.min().item() >= 0
        assert pixels.max().item() <= 1
    assert 0 < pixels.mean().item() < 1


def test_a_schedule_of_the_images_leaves_the_adversarys_rate(images, pool, monkeypatch):
    # The published code hangs psi's schedule on the images' optimizer.
    rates = []
    play = step.MinMaxStep.__call__

    def spy(played):
        rates.append([p.optimizer.param_groups[0]["lr"] for p in (played.images, played.adversary)])
        return play(played)

    monkeypatch.setattr(loop.MinMaxStep, "__call__", spy)
    distill(images, pool, mixture(16), ipc=1, iterations=4, real_batch_per_class=2, image_lr=0.1, adversary_lr=2e-3)
    # Cosine at the middle of each quarter: (1 + cos(pi (i + 1/2) / 4)) / 2.
    assert [r[0] for r in rates] == pytest.approx([0.0961940, 0.0691342, 0.0308658, 0.0038060], abs=1e-6)
    assert [r[1] for r in rates] == [2e-3] * 4


def test_the_loop_gives_the_adversary_an_optimizer_that_ascends(images):
    objective = mixture(16)
    start = torch.rand(10, 1, 1, 8, 8)
    pixels, adversary = loop.make_players(start, objective, torch.device("cpu"), Budget(), 1e-3)
    assert isinstance(pixels, Player)
    assert adversary.optimizer.param_groups[0]["maximize"]
    assert not pixels.optimizer.param_groups[0]["maximize"]
    assert pixels.tensors[0].data_ptr() != start.data_ptr()  # the start stays as it was
    assert {id(p) for p in adversary.tensors} == {id(p) for p in objective.sampler.parameters()}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The .grad attribute")  # asked by the compiler where a random draw splits the graph
@pytest.mark.parametrize(
    ("precision", "criterion"),
    [(torch.float32, "discrepancy"), (torch.bfloat16, "discrepancy"), (torch.float32, "halves")],
)
def test_a_compiled_step_is_the_step(images, pool, precision, criterion):
    # The same draws, the same moves: rounding apart, the images and the adversary go the same way.
    if cpp_compiler() is None:
        pytest.skip("no C++ compiler here")
    options = {"factor": 2, "precision": precision}
    plain, whole = (
        make_step(images, pool, objective=mixture(criterion=criterion), compile_step=on, **options)
        for on in (False, True)
    )
    with kernels.switched_off():
        for _ in range(3):
            expected, found = plain(), whole()
            tolerance = {"rtol": 1e-4, "atol": 1e-5} if precision == torch.float32 else {"rtol": 3e-2, "atol": 1e-2}
            assert_close(found.discrepancy, expected.discrepancy, **tolerance)
            assert_close(found.calibration, expected.calibration, **tolerance)
    moved = plain.images.tensors[0] - whole.images.tensors[0]
    assert float(moved.detach().abs().mean()) < (1e-3 if precision == torch.float32 else 5e-3)
    for a, b in zip(plain.adversary.tensors, whole.adversary.tensors, strict=True):
        assert_close(a, b, rtol=1e-2, atol=1e-3 if precision == torch.float32 else 5e-3)


# --- switches: extractors, weights, batches -----------------------------------------------------------------


def classes_apart(played, draw):
    """Gradient of the images (C, ipc, c, h, w) by the sum over classes of their mean cross-entropy, class by class."""
    pixels = played.images.tensors[0]
    total = 0.0
    for label in range(len(pixels)):
        seen = played.training_images(draw.of(slice(label, label + 1)), slice(label, label + 1))[0]
        logits = played.pool.whole(seen)
        total = total - logits.log_softmax(1)[:, label].mean()
    return torch.autograd.grad(total, pixels)[0]


@pytest.mark.parametrize("num_classes", [4, 10])
def test_a_summed_calibration_weighs_a_class_alike_whatever_their_number(digits, num_classes):
    keep = torch.arange(num_classes)
    split = few(digits).train
    at = torch.isin(split.labels, keep).nonzero().flatten()
    data = few(digits)
    images = type(data)(
        "some", ImageSplit.of(split.images[at], split.labels[at], num_classes), None, data.class_names[:num_classes]
    )
    pool = random_pool(data)  # of ten classes
    flat = {"objective": MeanMatching(), "matching_weight": 0.0, "calibration_reduction": "sum", "player": Frozen}
    played = make_step(images, pool, ipc=2, augment="none", **flat)
    played()
    found = played.images.gradients[0][0]
    draw = played.augment.draw(num_classes, 8, rng(0))
    assert_close(found, classes_apart(played, draw), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("counts", [None, (2, 1) * 5])
def test_a_sum_of_equal_classes_is_their_mean_times_their_number(images, pool, counts):
    gradients = {}
    for reduction, weight in (("mean", 10.0), ("sum", 1.0)):
        played = make_step(
            images,
            pool,
            ipc=2,
            objective=MeanMatching(),
            player=Frozen,
            matching_weight=0.0,
            calibration_weight=weight,
            calibration_reduction=reduction,
            **({} if counts is None else {"counts": counts}),
        )
        played()
        gradients[reduction] = played.images.gradients[0][0]
    same = torch.allclose(gradients["mean"], gradients["sum"], rtol=1e-4, atol=1e-7)
    assert same is (counts is None)  # of unequal classes each image counts alike in one, each class in the other


def test_a_separate_calibration_is_an_update_of_its_own(make):
    played = make(player=Frozen, objective=MeanMatching(), calibration_step="separate", calibration_weight=2.0)
    record = played()
    matching, calibration = (gradients[0] for gradients in played.images.gradients)
    plain = make(player=Frozen, objective=MeanMatching(), calibration_weight=0.0)
    plain()
    assert_close(matching, plain.images.gradients[0][0])
    # By hand: the mean over all images, under the extractor's own teacher, with the draw of the stream "calibration".
    draw = played.augment.draw(10, 8, Streams(0)["calibration"], choose_each=True)
    played.pool.trained(played.pool.drawn.teacher)
    assert_close(calibration, 2.0 * classes_apart(played, draw) / 10, rtol=1e-4, atol=1e-7)
    loss = played.calibrate(played.training_images(draw))
    assert float(record.calibration) == pytest.approx(loss.item(), rel=1e-5)


def test_a_separate_calibration_takes_its_steps_class_by_class_too(make):
    options = {"player": Frozen, "objective": MeanMatching(), "calibration_step": "separate"}
    whole, parts = make(**options), make(**options, classes_per_step=3)
    records = whole(), parts()
    assert len(whole.images.gradients) == 2
    assert len(parts.images.gradients) == 8  # four parts, once for each term
    assert_close(sum(g[0] for g in parts.images.gradients[4:]), whole.images.gradients[1][0], rtol=1e-4, atol=1e-7)
    assert_close(records[0].calibration, records[1].calibration)


def test_a_fresh_network_is_calibrated_by_a_random_teacher(make):
    played = make(extractor="random", calibration_step="separate")
    assert torch.isfinite(played().calibration)
    assert played.pool.drawn is None


def test_every_class_draws_an_alternative_of_its_own(make):
    played = make(augment="flip_crop|scale|rotate")
    draw = played._draw_augmentation(rng(0))
    kinds = {tuple(row) for row in (draw.affine[:, :, 2].abs() > 1e-6).any(1).int()[:, None].tolist()}
    assert len(kinds) == 2  # some classes are shifted, others are not
    assert torch.isfinite(played().discrepancy)


def test_clustered_batches_have_an_image_of_each_cluster(digits, own_cache, monkeypatch):
    data, seen = few(digits, 12), []
    features_at = step.MinMaxStep._features_at
    monkeypatch.setattr(
        step.MinMaxStep, "_features_at", lambda self, at, draw: (seen.append(at), features_at(self, at, draw))[1]
    )
    pool = random_pool(data)
    options = {"real_batches": "clustered", "real_batch_per_class": 6, "num_clusters": 3, "cluster_space": "pixels"}
    distill(data, pool, MeanMatching(), ipc=1, iterations=3, chunk_size=1000, **options)
    clusters = cluster_classes(data, pool, space="pixels", number=3, generator=Streams(0)["clusters"])
    assert len(seen) == 3
    for at in seen:
        found = clusters[at].sort(dim=1).values
        for c in range(10):
            own = clusters[c * 12 : (c + 1) * 12].bincount().clamp(max=2)  # two of each, if it has two
            assert found[c].bincount(minlength=3).ge(own).all()


def test_all_layers_are_matched_together(images):
    network = "convnet2w8"
    pool = random_pool(images, network=network)
    played = make_step(images, pool, objective=MeanMatching(), layers="all", player=Frozen)
    record = played()
    assert played.extract.num_features == 2 * pool.blended.num_features
    assert torch.isfinite(record.discrepancy)
    assert float(played.images.gradients[0][0].abs().max()) > 0


@pytest.mark.parametrize("extraction", [{"blend_high": 0.5}, {"blend_low": 0.3, "blend_high": 0.4}])
def test_the_range_of_blends_reaches_the_pool(make, monkeypatch, extraction):
    played, seen = make(**extraction), []
    monkeypatch.setattr(played.pool, "blended_at", lambda index, beta: seen.append(beta))
    for _ in range(30):
        played.draw_extractor(played.streams["teachers"])
    assert extraction.get("blend_low", 0.0) <= min(seen) < max(seen) <= extraction["blend_high"]
