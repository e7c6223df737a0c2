"""TensorBoard and Weights & Biases themselves read what a run tells them; put in by `make test-slow`."""

from __future__ import annotations

import importlib.util
import json

import pytest

import ncfm
from ncfm.distillation.loggers import EVENTS_FOLDER
from tiny import SETTINGS

pytestmark = pytest.mark.slow


def distill(folder, logger, iterations, **options):
    settings = SETTINGS | {"distill.iterations": iterations, "machine.log": logger}
    return ncfm.distill("digits", ipc=1, recipe="none", settings=settings, out=folder, **options)


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="TensorBoard is not installed")
@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_the_metrics_of_a_run_that_went_on(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    distill(tmp_path / "run", "tensorboard", 11)
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"iterations": 11', '"iterations": 20'))
    history = distill(tmp_path / "run", "tensorboard", 20, resume=True).history
    read = EventAccumulator(str(tmp_path / "run" / EVENTS_FOLDER)).Reload()
    for name in ("discrepancy", "amplitude", "phase"):
        points = read.Scalars(name)
        assert [point.step for point in points] == [entry["iteration"] for entry in history]
        assert [point.value for point in points] == pytest.approx([entry[name] for entry in history], rel=1e-6)


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="Weights & Biases is not installed")
@pytest.mark.filterwarnings("ignore")
def test_wandb_writes_the_metrics_down_while_it_is_offline(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    history = distill(tmp_path / "run", "wandb", 11).history
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    written = file.read_bytes()  # records, each value as JSON
    for entry in history:
        for name in ("discrepancy", "amplitude", "phase"):
            assert name.encode() in written
            assert json.dumps(entry[name]).encode() in written
