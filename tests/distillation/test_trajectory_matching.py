"""Trajectory matching on real digits: experts recorded and found again, starts, what moves, resuming."""

from __future__ import annotations

import os
import signal
from functools import partial

import pytest
import torch
from safetensors.torch import load_file
from torch.func import functional_call
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.distillation import Interrupted, StartRange, distill_trajectories
from ncfm.distillation import trajectory_matching as trajectory
from ncfm.distillation.checkpoint import CHECKPOINT_FILE
from ncfm.distillation.options import Trajectories
from ncfm.networks import create_network
from ncfm.synthetic.formation import Formation
from ncfm.training.experts import ExpertPool, Trajectory, flat, record_experts
from ncfm.training.fit import fit, predict
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import network_for
from tiny import few, grouped

CPU = torch.device("cpu")
RECIPE = TrainingRecipe(
    epochs=4, optimizer="sgd", lr=0.05, batch_size=16, schedule="constant", momentum=0.0, weight_decay=0.0
)
OPTIONS = {"ipc": 1, "iterations": 4, "start": StartRange(0, 2), "student_steps": 3, "log_every": 1}


@pytest.fixture(scope="module")
def images(digits):
    return few(digits)


@pytest.fixture(scope="module")
def record(images, tmp_path_factory):
    cache = tmp_path_factory.mktemp("experts")
    return partial(
        record_experts,
        images,
        network="convnet1w8",
        num_experts=2,
        recipe=RECIPE,
        cache=cache,
    )


@pytest.fixture(scope="module")
def experts(record):
    return record()


@pytest.fixture
def run(images, experts):
    def play(**flat):
        names = ("formation", "options", "budget", "control")
        return distill_trajectories(images, experts, **grouped(*names, **({"factor": 1} | OPTIONS | flat)))

    return play


# --- experts ------------------------------------------------------------------------------------------------


def test_a_trajectory_is_the_training_epoch_by_epoch(images, experts):
    from ncfm._utils.seeding import derive_seed

    network = network_for(images, "convnet1w8", seed=derive_seed(0, "experts", 1))
    states = [flat(network)]
    fit(
        network,
        images.train.images,
        images.train.labels,
        recipe=RECIPE,
        statistics=images.statistics,
        generator=generator(0, "experts", 1, "training"),
        after_epoch=lambda epoch: states.append(flat(network)),
    )
    assert experts.num_epochs == len(states) - 1 == 4
    for epoch, state in enumerate(states):
        assert_close(experts.state(1, epoch), state, rtol=1e-3, atol=1e-7)  # half precision: 11 bits


def test_half_precision_is_far_finer_than_an_epoch(experts):
    for before, after in zip(range(4), range(1, 5), strict=True):
        start, end = experts.state(0, before), experts.state(0, after)
        rounding = 2.0**-12 * end.norm()  # at most half a unit of 11 bits, of every weight
        assert rounding < 0.02 * (end - start).norm()


def test_weights_are_named_views_and_logits_those_of_the_network(images, experts):
    state = experts.state(0, 4)
    network = network_for(images, "convnet1w8", seed=7)
    network.load_state_dict(dict(experts.weights(state)))
    assert torch.equal(flat(network), state)
    x = torch.randn(3, 1, 8, 8, generator=generator(0, "x"))
    assert_close(experts.logits(state, x), network(x))
    state = state.requires_grad_()
    experts.logits(state, x).sum().backward()
    assert state.grad is not None
    assert not any(p.requires_grad for p in experts.network.parameters())
    assert torch.equal(functional_call(experts.network, dict(experts.weights(state)), (x,)), experts.logits(state, x))


def test_experts_learn_and_differ(images, experts):
    def error(state):
        network = network_for(images, "convnet1w8", seed=7)
        network.load_state_dict(dict(experts.weights(state)))
        said = predict(network, images.train.images, statistics=images.statistics)
        return float((said.argmax(1) != images.train.labels).float().mean())

    for expert in range(2):
        assert error(experts.state(expert, 4)) < error(experts.state(expert, 0)) - 0.2
    assert not torch.equal(experts.state(0, 0), experts.state(1, 0))


def test_recorded_experts_are_found_again_one_by_one(record, experts):
    told = []
    again = record(num_experts=3, on_epoch=lambda expert, epoch: told.append((expert, epoch)))
    assert told == [(2, 1), (2, 2), (2, 3), (2, 4)]  # only the third was trained
    for expert in range(2):
        assert torch.equal(again.trajectories[expert].states, experts.trajectories[expert].states)
    assert again.seconds > experts.seconds


def test_a_damaged_recording_is_made_again(images, tmp_path):
    options = {"network": "convnet1w8", "num_experts": 1, "recipe": RECIPE, "cache": tmp_path}
    first = record_experts(images, **options)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(record_experts(images, **options).state(0, 4), first.state(0, 4))


@pytest.mark.parametrize("change", [{"seed": 1}, {"network": "convnet1w4"}])
def test_other_experts_are_others(record, experts, change):
    assert not torch.equal(record(num_experts=1, **change).state(0, 4)[:40], experts.state(0, 4)[:40])


def test_batch_norm_is_refused(images):
    network = create_network("convnet1w8-batch", channels=1, num_classes=10, image_size=8, seed=0)
    with pytest.raises(NcfmError, match="BatchNorm"):
        ExpertPool(
            [Trajectory(flat(network)[None], 0.0)], network, statistics=images.statistics, device=torch.device("cpu")
        )


# --- where students start -----------------------------------------------------------------------------------


def test_starts_cover_their_range():
    rng, start = generator(0, "starts"), StartRange(1, 4)
    assert {start.draw(0, rng) for _ in range(100)} == {1, 2, 3, 4}


def test_the_range_grows_to_its_end():
    start, highest = StartRange(1, 9, first_high=3, growth=6), []
    for iteration in range(9):
        rng = generator(0, "starts")
        drawn = {start.draw(iteration, rng) for _ in range(300)}
        assert min(drawn) == 1
        highest.append(max(drawn))
    assert highest == [3, 4, 5, 6, 7, 8, 9, 9, 9]


@pytest.mark.parametrize("wrong", [(2, 1, None), (0, 4, 5), (2, 4, 1)])
def test_ranges_that_are_none_are_refused(wrong):
    with pytest.raises(NcfmError, match="start_low"):
        StartRange(*wrong)


def test_a_target_beyond_the_recording_is_refused(run):
    with pytest.raises(NcfmError, match="experts have 4 epochs"):
        run(start=StartRange(0, 3), matched_epochs=2)


# --- an iteration -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("learn_labels", [False, True])
def test_images_move_and_stay_in_range(run, images, factor, learn_labels):
    result = run(factor=factor, label_precision="float16" if learn_labels else None)
    stored = result.synthetic.images
    assert stored.shape == (10, 1, 1, 8, 8)
    assert not torch.equal(stored, result.start.images)
    assert 0 <= float(stored.min()) <= float(stored.max()) <= 1
    assert result.iterations == 4
    assert result.seconds_per_iteration == result.seconds / 4
    assert result.peak_memory_mb >= 0
    soft = result.synthetic.soft_labels
    assert (soft is not None) == learn_labels
    if soft is not None:
        assert soft.log_probabilities().shape == (10 * factor**2, 10)
    assert set(result.history[0]) == {"iteration", "gap", "step_size", "start", "seconds"}


@pytest.mark.parametrize("way", ["unrolled", "tesla"])
def test_ways_of_differentiation_agree_as_they_should(run, way):
    # One iteration: Adam's first move is the sign of the gradient.
    exact = run(iterations=1, student_steps=2)
    other = run(iterations=1, student_steps=2, differentiation=way)
    assert exact.history[0]["gap"] == pytest.approx(other.history[0]["gap"], rel=1e-4)
    moves = [(r.synthetic.images - r.start.images).sign() for r in (exact, other)]
    same = float((moves[0] == moves[1]).float().mean())
    assert same > (0.995 if way == "unrolled" else 0.8)


def test_the_gap_falls(run):
    """On one expert and start, with images, labels and step size free, students come nearer."""
    result = run(iterations=60, start=StartRange(0, 0), image_lr=0.02, step_size=0.05, step_size_lr=0.05, label_lr=0.05)
    gaps = [entry["gap"] for entry in result.history]
    assert sum(gaps[-10:]) / 10 < 0.9 * sum(gaps[:10]) / 10
    assert result.history[-1]["step_size"] != result.history[0]["step_size"]


def test_the_step_size_moves_by_the_slope_in_its_logarithm(run, monkeypatch):
    moves, gaps = [], []
    move, way = trajectory.Player.update, trajectory.DIFFERENTIATIONS["replayed"]
    monkeypatch.setattr(trajectory.Player, "update", lambda self, g: (moves.append(g[0].clone()), move(self, g))[1])
    monkeypatch.setitem(
        trajectory.DIFFERENTIATIONS, "replayed", lambda *a: gaps.append((way(*a), a[-1])) or gaps[-1][0]
    )
    run(iterations=1, step_size=0.05)
    (gap, step_size), in_log = gaps[0], moves[-1]
    assert float(step_size) == pytest.approx(0.05)
    assert float(in_log) == pytest.approx(float(gap.step_size) * 0.05)


def test_learned_labels_begin_with_what_an_expert_says(run, experts):
    result = run(iterations=0)
    weights = experts.weights(experts.state(0, 4))
    x = (result.start.decoded().images - result.start.statistics.mean[0]) / result.start.statistics.std[0]
    said = functional_call(experts.network, dict(weights), (x,)).log_softmax(1)
    assert_close(result.synthetic.soft_labels.log_probabilities(), said, rtol=2e-3, atol=2e-3)


def test_the_correct_start_is_classified_correctly(run, experts):
    start = run(iterations=0, ipc=2).start
    said = trajectory._logits_of_expert(experts, start.decoded().images).argmax(1)
    assert torch.equal(said, start.decoded().labels)
    random = run(iterations=0, ipc=2, init="real").start
    said = trajectory._logits_of_expert(experts, random.decoded().images).argmax(1)
    assert not torch.equal(said, random.decoded().labels)


def test_where_too_few_are_correct_any_will_do(images, experts, monkeypatch):
    monkeypatch.setattr(trajectory, "_logits_of_expert", lambda experts, x: torch.eye(10)[[0] * len(x)])
    start = trajectory._start(images, experts, 2, 1, "correct", generator(0, "init"))
    assert start.shape == (10, 2, 1, 8, 8)
    assert not torch.equal(start[3, 0], start[3, 1])


def test_batches_pass_over_the_whole_set(images, experts):
    seen = []

    class Spy(trajectory.TrajectoryStep):
        def student_loss(self, at, draw, *tensors):
            seen.append(at)
            return super().student_loss(at, draw, *tensors)

    pixels = torch.rand(10, 1, 1, 8, 8).requires_grad_()
    player = trajectory._adam(pixels, 0.01)
    step = Spy(
        experts,
        player,
        None,
        trajectory._adam(torch.tensor(-3.0), 0.01),
        streams=trajectory.Streams(0),
        augment="none",
        start=StartRange(0, 0),
        formation=Formation(1),
        options=Trajectories(student_steps=4, student_batch_size=5),
    )
    step()
    first = seen[:4]
    assert [len(at) for at in first] == [5, 5, 5, 5]
    assert sorted(torch.cat(first[:2]).tolist()) == sorted(torch.cat(first[2:]).tolist()) == list(range(10))
    assert [at.tolist() for at in seen[4:]] == [at.tolist() for at in reversed(first)]  # replayed: the same, backwards


# --- a run --------------------------------------------------------------------------------------------------


def test_same_seed_same_bits(run):
    a, b, other = run(), run(), run(seed=1)
    assert torch.equal(a.synthetic.images, b.synthetic.images)
    assert not torch.equal(a.synthetic.images, other.synthetic.images)


@pytest.mark.parametrize("learn_labels", [False, True])
def test_resumed_equals_never_stopped(run, tmp_path, learn_labels):
    # Starts grow during the run: the count of iterations is part of the state.
    options = {
        "iterations": 6,
        "start": StartRange(0, 2, 0, 4),
        "label_precision": "float16" if learn_labels else None,
        "student_steps": 2,
    }
    straight = run(folder=tmp_path / "straight", **options)
    with pytest.raises(Interrupted):
        run(
            folder=tmp_path / "halved",
            on_iteration=lambda i, _: os.kill(os.getpid(), signal.SIGINT) if i == 3 else None,
            **options,
        )
    resumed = run(folder=tmp_path / "halved", resume=True, **options)
    assert torch.equal(straight.synthetic.images, resumed.synthetic.images)
    a, b = (load_file(tmp_path / name / CHECKPOINT_FILE) for name in ("straight", "halved"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert int(a["played"]) == 6


def test_unrolled_steps_that_do_not_fit_are_replayed(run, monkeypatch):
    def never(*arguments):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")

    monkeypatch.setitem(trajectory.DIFFERENTIATIONS, "unrolled", never)
    with pytest.warns(UserWarning, match="Out of memory"):
        spilled = run(differentiation="unrolled")
    assert torch.equal(spilled.synthetic.images, run().synthetic.images)


def test_a_budget_of_time_ends_the_run(run):
    result = run(iterations=1, seconds=0.4, student_steps=1, image_schedule="cosine")
    assert result.iterations > 1
    assert 0.4 <= result.seconds < 2
    assert not result.stopped_early
