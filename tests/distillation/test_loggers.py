"""Metrics that go to TensorBoard and Weights & Biases: what they are told, and that it changes nothing."""

import builtins
import random
import sys
import types
from typing import ClassVar

import numpy as np
import pytest
import torch

import ncfm
from ncfm import NcfmError
from ncfm.config.resolve import resolve_config
from ncfm.distillation.loggers import EVENTS_FOLDER, TensorBoardLogger, WandbLogger, import_logger, make_logger
from tiny import SETTINGS

TOLD = {"discrepancy", "amplitude", "phase", "calibration", "seconds", "seconds_per_iteration", "memory_mb"}


class FakeWriter:
    """Notes what a SummaryWriter is told."""

    made: ClassVar[list["FakeWriter"]] = []

    def __init__(self, log_dir, purge_step):
        self.log_dir, self.purge_step, self.closed, self.scalars = log_dir, purge_step, 0, []
        FakeWriter.made.append(self)

    def add_scalar(self, name, value, global_step):
        self.scalars.append((global_step, name, value))

    def close(self):
        self.closed += 1


class FakeRun:
    """Notes what a run of wandb is told; draws random numbers, as the real one does for its names."""

    def __init__(self, **options):
        random.random(), np.random.rand(), torch.rand(1)
        self.options, self.points, self.finished = options, [], 0

    def log(self, metrics, step):
        self.points.append((step, metrics))

    def finish(self):
        self.finished += 1


@pytest.fixture
def writers(monkeypatch):
    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = FakeWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(FakeWriter, "made", [])
    return FakeWriter.made


@pytest.fixture
def wandb_runs(monkeypatch):
    module, runs = types.ModuleType("wandb"), []
    module.init = lambda **options: runs.append(FakeRun(**options)) or runs[-1]
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    return runs


def distill(out, **options):
    settings = SETTINGS | {"distill.iterations": 11} | options.pop("settings", {})
    return ncfm.distill("digits", ipc=1, recipe="none", settings=settings, out=out, **options)


def test_tensorboard_is_told_every_metric_of_the_file(tmp_path, writers):
    result = distill(tmp_path / "run", settings={"machine.log": "tensorboard"})
    (writer,) = writers
    assert (writer.log_dir, writer.closed) == (str(tmp_path / "run" / EVENTS_FOLDER), 1)
    assert sorted({step for step, _, _ in writer.scalars}) == [1, 10, 11]
    assert {name for _, name, _ in writer.scalars} == TOLD
    of_discrepancy = [value for _, name, value in writer.scalars if name == "discrepancy"]
    assert of_discrepancy == [entry["discrepancy"] for entry in result.history]
    rates = [value for _, name, value in writer.scalars if name == "seconds_per_iteration"]
    seconds = [entry["seconds"] for entry in result.history]
    assert rates[1] == pytest.approx((seconds[1] - seconds[0]) / 9)


def test_wandb_is_told_the_same_and_the_configuration(tmp_path, wandb_runs):
    result = distill(tmp_path / "mine", settings={"machine.log": "wandb"})
    (run,) = wandb_runs
    assert (run.options["project"], run.options["name"], run.finished) == ("ncfm", "mine", 1)
    assert run.options["dir"] == str(tmp_path / "mine")
    assert run.options["config"]["distill"]["iterations"] == 11
    assert [step for step, _ in run.points] == [1, 10, 11]
    assert all(set(metrics) == TOLD for _, metrics in run.points)
    assert [m["discrepancy"] for _, m in run.points] == [entry["discrepancy"] for entry in result.history]


def test_the_environment_names_the_project(tmp_path, wandb_runs, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    distill(None, settings={"machine.log": "wandb"})
    assert "project" not in wandb_runs[0].options
    assert "dir" not in wandb_runs[0].options


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_logging_changes_no_result(tmp_path, writers, wandb_runs, name):
    plain = distill(tmp_path / "plain", settings={"distill.iterations": 3})
    logged = distill(tmp_path / name, settings={"distill.iterations": 3, "machine.log": name})
    assert torch.equal(plain.synthetic.images, logged.synthetic.images)
    assert plain.synthetic.facts["variant"] == logged.synthetic.facts["variant"]


def test_a_resumed_run_goes_on_in_the_same_folder(tmp_path, writers):
    distill(tmp_path / "run", settings={"distill.iterations": 4, "machine.log": "tensorboard"})
    config = tmp_path / "run" / "config.json"
    config.write_text(config.read_text().replace('"iterations": 4', '"iterations": 6'))
    distill(tmp_path / "run", settings={"distill.iterations": 6, "machine.log": "tensorboard"}, resume=True)
    first, second = writers
    assert first.log_dir == second.log_dir
    assert (first.purge_step, second.purge_step) == (1, 6)


def test_a_run_that_is_stopped_closes_its_log(tmp_path, wandb_runs, monkeypatch):
    def fail(self, *_):
        raise RuntimeError("no more")

    monkeypatch.setattr("ncfm.distillation.runner.Run.save", fail)
    with pytest.raises(RuntimeError, match="no more"):
        distill(tmp_path / "run", settings={"machine.log": "wandb"})
    assert wandb_runs[0].finished == 1


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_told_before_any_work(tmp_path, monkeypatch, name, own_cache):
    real = builtins.__import__

    def without(module, *arguments):
        if module.split(".")[0] == name:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(module, *arguments)

    for loaded in [key for key in sys.modules if key.split(".")[0] == name or key == "torch.utils.tensorboard"]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, name, None)  # an import of it fails
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NcfmError, match=rf'machine.log={name} needs .*pip install "ncfm\[{name}\]"'):
        distill(tmp_path / "run", settings={"machine.log": name})
    assert not list(own_cache.rglob("*.safetensors"))  # no teacher was trained
    assert not (tmp_path / "run" / "synthetic").exists()


def test_tensorboard_needs_a_folder(writers):
    with pytest.raises(NcfmError, match=r"give one \(--out\)"):
        make_logger("tensorboard", None, {})


def test_unknown_loggers_are_told():
    with pytest.raises(NcfmError, match="Did you mean 'tensorboard'"):
        make_logger("tensorbord", None, {})
    with pytest.raises(NcfmError, match="Unknown logger"):
        import_logger("mlflow")
    with pytest.raises(NcfmError, match=r"machine\.log"):
        resolve_config("digits", 1, "none", {"machine.log": "mlflow"}, None)


def test_no_logger_is_the_default():
    assert make_logger(None, None, {}) is None
    assert resolve_config("digits", 1, None, None, None).machine.log is None


def test_nothing_is_opened_before_the_first_metrics(tmp_path, writers, wandb_runs):
    for logger in (TensorBoardLogger(tmp_path), WandbLogger(tmp_path, {})):
        logger.close()
    assert (writers, wandb_runs) == ([], [])


def test_the_event_file_can_be_read(tmp_path):
    pytest.importorskip("tensorboard")
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    distill(tmp_path / "run", settings={"distill.iterations": 2, "machine.log": "tensorboard"})
    events = accumulators.EventAccumulator(str(tmp_path / "run" / EVENTS_FOLDER))
    events.Reload()
    assert set(events.Tags()["scalars"]) == TOLD
    assert [point.step for point in events.Scalars("discrepancy")] == [1, 2]
