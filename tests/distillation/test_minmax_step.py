"""One iteration of the min-max: who moves, which way, and how often."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.testing import assert_close
from torch.utils._python_dispatch import TorchDispatchMode

from by_hand import clones, discrepancy_now, drawn, equal
from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import Streams
from ncfm.data.class_batches import draw_class_batches
from ncfm.discrepancy import ROOT_EPSILON
from ncfm.discrepancy.frequencies import GaussianFrequencies
from ncfm.distillation import MinMaxStep, Player, ascend
from ncfm.distillation import distribution_matching as loop
from ncfm.distillation.budget import Budget
from ncfm.distillation.objectives import CharacteristicMatching, MeanMatching
from oracles_step import iteration_loop
from tiny import WIDTH, Frozen, Recorder, distill, mixture


def test_an_ascent_raises_the_discrepancy_moves_all_of_psi_and_leaves_the_images(make):
    played = make()
    real, draw = drawn(played)
    psi, pixels = clones(played.adversary.tensors), clones(played.images.tensors)
    synthetic = played.synthetic.features_of(
        played.synthetic.training_images(draw)
    )  # with its graph: ascend must cut it
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


# --- both at once: the published code adds the gradients of loss and -loss in one buffer, where they cancel -


def test_together_each_player_gets_its_own_gradient(make):
    played = make(player=Frozen, matching_weight=10.0)
    played()
    separate = make(matching_weight=10.0)
    real, draw = drawn(separate)
    training = separate.synthetic.training_images(draw)
    synthetic = separate.synthetic.features_of(training)
    noise = separate.streams["frequencies"].get_state()

    psi = copy.deepcopy(separate.objective.sampler)
    frozen = CharacteristicMatching(psi.requires_grad_(False))
    discrepancy = frozen.discrepancy(real, synthetic, separate.streams["frequencies"]).sum()
    separate.pool.draw_trained(separate.streams["calibration"])
    loss = 10 * discrepancy + separate.calibration.loss(training)
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
    features_of = played.synthetic.features_of
    monkeypatch.setattr(played.synthetic, "features_of", lambda *given: (passes.append(1), features_of(*given))[1])
    played()
    assert len(passes) == 1


# --- how often ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [(1, 1), (0, 1), (0, 3), (5, 1), (1, 5), (2, 2)])
def test_moves_are_counted(make, monkeypatch, steps):
    ascents, descents = steps
    played = make(player=Recorder, ascent_steps=ascents, descent_steps=descents)
    batches = []
    features_at = played.real.features_at
    monkeypatch.setattr(played.real, "features_at", lambda *given: (batches.append(1), features_at(*given))[1])
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
    parameters = played.views.augment.draw(10, 8, streams["augment"])
    at = draw_class_batches(images.train, 4, streams["batches"])
    real = [images.train.images[row].double() / 255 for row in at]
    discrepancy, cross_entropy = iteration_loop(
        pixels,
        real,
        sampler.sample(streams["frequencies"]).detach().double(),
        pool=pool,
        augment=played.views.augment,
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


# --- data ---------------------------------------------------------------------------------------------------


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
    play = MinMaxStep.__call__

    def spy(played):
        rates.append([p.optimizer.param_groups[0]["lr"] for p in (played.images, played.adversary)])
        return play(played)

    monkeypatch.setattr(MinMaxStep, "__call__", spy)
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
