"""Checkpoints of earlier versions: the names in the file never change, so that every run can be resumed."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from ncfm._utils.checks import RunError
from ncfm.distillation import DistillResult, Interrupted
from ncfm.distillation.checkpoint import Progress, has_checkpoint
from tiny import distill, few, mixture, random_pool

# As version 1 wrote them.
PROGRESS = (
    '{"iteration": 3, "seconds": 1.5, "smoothed": 0.25, "best": 0.2, "best_iteration": 2, "peak_memory_mb": 8.0, '
    '"taken_back": 1, "spectrum": [1.5, 60.0]}'
)
ADVERSARY = ("weight_in", "bias_in", "weight_out", "bias_out")
NAMES = {
    "images",
    *(f"adversary.{name}" for name in ADVERSARY),
    *(f"images_optimizer.0.{name}" for name in ("step", "exp_avg", "exp_avg_sq")),
    *(f"adversary_optimizer.{i}.{name}" for i in range(4) for name in ("step", "exp_avg", "exp_avg_sq")),
    *(f"stream.{name}" for name in ("init", "teachers", "augment", "batches", "calibration", "frequencies")),
}


def test_progress_is_written_under_the_names_of_version_1():
    progress = Progress(3, 1.5, 0.25, 0.2, 2, 8.0, rolled_back=1, spectrum=[1.5, 60.0])
    assert progress.to_json() == PROGRESS
    assert Progress.from_json(PROGRESS) == progress
    assert Progress.from_json(PROGRESS.replace("taken_back", "rolled_back")) == progress
    assert Progress.from_json("{}") == Progress()


@pytest.mark.parametrize("text", ["3", "[1, 2]", '{"iteration"', '{"iterations": 3}', "null"])
def test_progress_that_is_not_one_is_refused(text):
    with pytest.raises((ValueError, TypeError)):
        Progress.from_json(text)


def test_a_run_of_version_1_is_resumed_bit_for_bit(digits, tmp_path):
    images = few(digits)
    pool = random_pool(images)

    def run(name, **options):
        own = {"ipc": 1, "iterations": 5, "real_batch_per_class": 2, "early_stop_patience": 50} | options
        return distill(images, pool, mixture(16), folder=tmp_path / name, **own)

    def stop(iteration, metrics):
        if iteration == 3:
            raise Interrupted("enough")

    straight = run("straight")
    with pytest.raises(Interrupted):
        run("cut", on_iteration=stop)
    path = tmp_path / "cut" / "state.safetensors"
    tensors = load_file(path)
    assert tensors.keys() == NAMES
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    assert metadata.keys() == {"format", "progress", "checksum"}
    progress = json.loads(metadata["progress"])
    assert list(progress) == list(json.loads(PROGRESS))
    # The first version had no checksum.
    save_file(tensors, path, {"format": "ncfm-state-1", "progress": json.dumps(progress | {"taken_back": 2})})
    with pytest.warns(UserWarning, match="2 of 5 iterations were not finite"):
        resumed = run("cut", resume=True)
    assert torch.equal(resumed.synthetic.images, straight.synthetic.images)
    assert resumed.rolled_back == resumed.taken_back == 2
    a, b = (load_file(tmp_path / name / "state.safetensors") for name in ("straight", "cut"))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", ["state.safetensors", "state-before.safetensors"])
def test_either_checkpoint_is_one_to_resume_from(tmp_path, name):
    assert not has_checkpoint(tmp_path)
    (tmp_path / name).touch()
    assert has_checkpoint(tmp_path)


def test_checkpoints_of_every_kind_of_damage_are_failures(digits, tmp_path):
    images = few(digits)
    save_file({"images": torch.rand(10, 1, 1, 8, 8)}, tmp_path / "state.safetensors", {"format": "ncfm-state-1"})
    with pytest.raises(RunError, match="damaged"):
        distill(images, random_pool(images), mixture(16), ipc=1, folder=tmp_path, resume=True)


def test_the_former_name_of_a_result_is_still_readable():
    result = DistillResult(None, None, 4, 2.0, False, [], None, 0.0, rolled_back=3)
    assert result.taken_back == 3
    assert result.seconds_per_iteration == 0.5
