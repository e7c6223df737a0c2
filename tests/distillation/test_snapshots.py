"""Snapshots of a run: bounded, from the start to the end, and the same however often the run was stopped."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from safetensors.torch import save_file

from ncfm._utils.checks import RunError
from ncfm.data.levels import to_uint8
from ncfm.distillation import Interrupted
from ncfm.distillation.budget import Budget
from ncfm.distillation.checkpoint import Progress
from ncfm.distillation.objectives import MeanMatching
from ncfm.distillation.snapshots import (
    MAX_SNAPSHOT_BYTES,
    MAX_SNAPSHOTS,
    SNAPSHOTS_FOLDER,
    Snapshot,
    read_snapshots,
    remove_snapshots,
    snapshot_images,
    snapshot_iterations,
    write_snapshot,
)
from tiny import distill, few, random_pool


@pytest.fixture(scope="module")
def run(digits):
    images = few(digits)
    pool = random_pool(images)

    def play(**options):
        own = {"ipc": 2, "iterations": 26, "real_batch_per_class": 2, "calibration_weight": 0.0} | options
        return distill(images, pool, MeanMatching(), **own)

    return play


def same_snapshots(a, b):
    a, b = read_snapshots(a), read_snapshots(b)
    return [f.iteration for f in a] == [f.iteration for f in b] and all(
        torch.equal(f.images, g.images) for f, g in zip(a, b, strict=True)
    )


def test_snapshots_have_the_start_the_end_and_equal_distances(run, tmp_path):
    result = run(folder=tmp_path)
    snapshots = read_snapshots(tmp_path)
    assert [f.iteration for f in snapshots] == [-(-26 * i // 11) for i in range(MAX_SNAPSHOTS)]
    assert torch.equal(snapshots[0].images, to_uint8(result.start.images))
    assert torch.equal(snapshots[-1].images, to_uint8(result.synthetic.images))
    assert all(f.images.dtype == torch.uint8 and f.images.shape == (10, 2, 1, 8, 8) for f in snapshots)
    assert all(not path.name.startswith(".") for path in (tmp_path / SNAPSHOTS_FOLDER).iterdir())


def test_snapshots_change_nothing(run, tmp_path):
    assert torch.equal(run(folder=tmp_path).synthetic.images, run().synthetic.images)


@pytest.mark.parametrize(("iterations", "expected"), [(0, [0]), (1, [0, 1]), (5, [0, 1, 2, 3, 4, 5])])
def test_short_runs_have_a_snapshot_of_every_iteration(run, tmp_path, iterations, expected):
    run(folder=tmp_path, iterations=iterations)
    assert snapshot_iterations(tmp_path) == expected


def test_moments_of_a_budget_of_time():
    budget = Budget(iterations=10, image_lr=0.1, seconds=8.0)
    moments = [budget.moment(Progress(iteration=99, seconds=s), 4) for s in (0.0, 1.9, 2.0, 7.9, 8.0, 11.0)]
    assert moments == [0, 0, 1, 3, 4, 4]
    by_iterations = Budget(iterations=10, image_lr=0.1)
    assert [by_iterations.moment(Progress(iteration=i), 4) for i in (0, 2, 3, 9, 10)] == [0, 0, 1, 3, 4]


def test_an_early_stop_is_an_end(run, tmp_path):
    result = run(folder=tmp_path, image_lr=1e-9, early_stop_patience=3)
    assert result.stopped_early
    assert snapshot_iterations(tmp_path)[-1] == result.iterations < 26
    assert len(snapshot_iterations(tmp_path)) <= MAX_SNAPSHOTS


@pytest.mark.parametrize("stop", [1, 5, 25])
def test_a_resumed_run_has_the_snapshots_of_one_that_never_stopped(run, tmp_path, stop):
    run(folder=tmp_path / "straight")
    with pytest.raises(Interrupted):
        run(
            folder=tmp_path / "halved",
            on_iteration=lambda i, _: os.kill(os.getpid(), signal.SIGINT) if i == stop else None,
        )
    assert snapshot_iterations(tmp_path / "halved")[-1] <= stop
    run(folder=tmp_path / "halved", resume=True)
    assert same_snapshots(tmp_path / "straight", tmp_path / "halved")


def test_snapshots_after_the_checkpoint_are_taken_again(run, tmp_path):
    run(folder=tmp_path / "straight")
    with pytest.raises(Interrupted):
        run(folder=tmp_path / "cut", on_iteration=lambda i, _: os.kill(os.getpid(), signal.SIGINT) if i == 5 else None)
    write_snapshot(tmp_path / "cut", Snapshot(7, torch.zeros(10, 2, 1, 8, 8, dtype=torch.uint8)))
    run(folder=tmp_path / "cut", resume=True)
    assert same_snapshots(tmp_path / "straight", tmp_path / "cut")


def test_a_crash_loses_only_what_the_checkpoint_loses(run, tmp_path):
    def crash(i, _):
        if i == 9:
            raise RuntimeError("power cut")

    run(folder=tmp_path / "straight")
    with pytest.raises(RuntimeError, match="power cut"):
        run(folder=tmp_path / "cut", checkpoint_seconds=0, on_iteration=crash)
    run(folder=tmp_path / "cut", resume=True)
    assert same_snapshots(tmp_path / "straight", tmp_path / "cut")


def test_a_finished_run_resumes_to_the_same_snapshots(run, tmp_path):
    run(folder=tmp_path)
    before = read_snapshots(tmp_path)
    run(folder=tmp_path, resume=True)
    assert [f.iteration for f in read_snapshots(tmp_path)] == [f.iteration for f in before]


@pytest.mark.parametrize(
    ("shape", "shown"),
    [
        ((10, 10, 3, 32, 32), (10, 10)),
        ((100, 10, 3, 32, 32), (100, 3)),
        ((200, 1, 3, 64, 64), (85, 1)),
        ((2, 1, 3, 1024, 1024), (1, 1)),
    ],
)
def test_snapshots_of_large_sets_are_cut(shape, shown):
    kept = snapshot_images(torch.rand(1, 1, *shape[2:]).expand(shape))
    assert kept.shape == (*shown, *shape[2:])
    assert kept.numel() <= max(MAX_SNAPSHOT_BYTES, kept[0, 0].numel())


def test_snapshots_after_an_iteration_are_removed(tmp_path):
    images = torch.zeros(1, 1, 1, 2, 2, dtype=torch.uint8)
    for iteration in (0, 5, 12):
        write_snapshot(tmp_path, Snapshot(iteration, images))
    remove_snapshots(tmp_path, 5)
    assert snapshot_iterations(tmp_path) == [0, 5]
    remove_snapshots(tmp_path / "none", 0)
    assert read_snapshots(tmp_path / "none") == []


@pytest.mark.parametrize("tensors", [{"other": torch.zeros(1)}, {"images": torch.zeros(2, 1, 1, 2, 2)}])
def test_a_strange_snapshot_is_refused(tmp_path, tensors):
    write_snapshot(tmp_path, Snapshot(0, torch.zeros(1, 1, 1, 2, 2, dtype=torch.uint8)))
    save_file(tensors, tmp_path / SNAPSHOTS_FOLDER / "0000003.safetensors")
    with pytest.raises(RunError, match=r"0000003\.safetensors is not a snapshot of this run"):
        read_snapshots(tmp_path)
