"""Trajectory matching on real digits: experts recorded and found again, starts, what moves, resuming."""

from __future__ import annotations

import os
import signal

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
from ncfm.distillation.players import Player
from ncfm.distillation.trajectory_step import DIFFERENTIATIONS
from tiny import grouped

OPTIONS = {"ipc": 1, "iterations": 4, "start": StartRange(0, 2), "student_steps": 3, "log_every": 1}


@pytest.fixture
def run(images, experts):
    def play(**flat):
        names = ("formation", "options", "budget", "control")
        return distill_trajectories(images, experts, **grouped(*names, **({"factor": 1} | OPTIONS | flat)))

    return play


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
    move, way = Player.update, DIFFERENTIATIONS["replayed"]
    monkeypatch.setattr(Player, "update", lambda self, g: (moves.append(g[0].clone()), move(self, g))[1])
    monkeypatch.setitem(DIFFERENTIATIONS, "replayed", lambda *a: gaps.append((way(*a), a[-1])) or gaps[-1][0])
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


# --- a run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number_right", [0, 3, 8])
def test_where_some_are_correct_they_come_first_and_none_comes_twice(images, experts, monkeypatch, number_right):
    def some_right(experts, shown):
        """Of the eight images of a class, the first ones shown are taken for their class."""
        calls.append(len(shown))
        index = len(calls) - 1
        logits = torch.zeros(len(shown), 10)
        logits[:number_right, index] = 1.0
        logits[number_right:, (index + 1) % 10] = 1.0
        return logits

    calls = []
    monkeypatch.setattr(trajectory, "_logits_of_expert", some_right)
    start = trajectory._start(images, experts, 8, 1, "correct", generator(0, "init"))
    for index in range(10):
        own = {tuple(row) for row in images.train.of_class(index).flatten(1).tolist()}
        made = (start[index] * 255).round().to(torch.uint8).flatten(1).tolist()
        assert len(own) == 8  # the images of the class differ
        assert {tuple(row) for row in made} == own


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

    monkeypatch.setitem(DIFFERENTIATIONS, "unrolled", never)
    with pytest.warns(UserWarning, match="Out of memory"):
        spilled = run(differentiation="unrolled")
    assert torch.equal(spilled.synthetic.images, run().synthetic.images)


def test_a_budget_of_time_ends_the_run(run):
    result = run(iterations=1, seconds=0.4, student_steps=1, image_schedule="cosine")
    assert result.iterations > 1
    assert 0.4 <= result.seconds < 2
    assert not result.stopped_early
