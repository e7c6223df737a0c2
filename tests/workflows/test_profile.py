"""Profiles: the stages of an iteration and of an epoch, their shares and operations."""

from __future__ import annotations

import json

import pytest

from ncfm._utils import ceiling
from ncfm._utils.checks import NcfmError
from ncfm.cli.main import main
from ncfm.workflows import profile as profiling
from tiny import SETTINGS, few

IPC, CLASSES, SIDE, WIDTH, FEATURES = 2, 10, 8, 8, 128
REAL, FREQUENCIES = SETTINGS["distill.real_batch_per_class"], SETTINGS["frequencies.number"]
MAKE = "everything else"


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 16)


@pytest.fixture(scope="module")
def found(images):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ceiling, "SIDES", {"cpu": 64})
        return profiling.profile(images, ipc=IPC, recipe="none", settings=SETTINGS | {"distill.factor": 1}, steps=2)


def stages_of(found, unit):
    return {stage.name: stage for stage in found.stages if stage.unit == unit}


def test_every_stage_of_an_iteration_is_there(found):
    assert set(stages_of(found, "iteration")) == {
        *("real batch", "augmentation", "real features", "decoding", "synthetic forward", "discrepancy"),
        *("calibration forward", "backward", "adversary", "optimizer", MAKE),
    }


def test_every_stage_of_an_epoch_is_there(found):
    assert set(stages_of(found, "teacher epoch")) == {
        *("gather", "augmentation", "forward", "loss", "backward", "optimizer", MAKE)
    }


@pytest.mark.parametrize("unit", ["iteration", "teacher epoch"])
def test_shares_add_up_to_the_whole(found, unit):
    stages = stages_of(found, unit).values()
    assert sum(stage.share for stage in stages) == pytest.approx(1)
    assert found.seconds(unit) == pytest.approx(sum(stage.seconds for stage in stages))
    assert all(stage.seconds >= 0 for stage in stages)


def test_operations_are_those_of_the_definition(found):
    stages = stages_of(found, "iteration")
    convolution = 2 * SIDE**2 * 9 * WIDTH  # of an image of one channel
    assert stages["real features"].operations == CLASSES * REAL * convolution
    assert stages["synthetic forward"].operations == CLASSES * IPC * convolution
    assert stages["calibration forward"].operations == CLASSES * IPC * (convolution + 2 * FEATURES * 10)
    projections = 2 * CLASSES * (REAL + IPC) * FREQUENCIES * FEATURES
    assert stages["discrepancy"].operations >= projections  # and the sampler's network
    for name in ("optimizer", "decoding", "real batch", MAKE):
        assert stages[name].operations == 0
    of_epoch = stages_of(found, "teacher epoch")
    assert of_epoch["forward"].operations == found.training_images * (convolution + 2 * FEATURES * 10)


def test_a_share_of_the_ceiling_is_a_rate_over_that_of_a_matrix_product(found):
    features = stages_of(found, "iteration")["real features"]
    rate = features.operations / features.seconds
    assert features.share_of_ceiling == pytest.approx(rate / found.rates[found.precision])


def test_an_epoch_is_its_batches(images, found):
    assert found.training_images == 2 * 64  # whole batches of 160 images
    assert found.iteration_memory_mb >= 0
    assert found.images_per_pass is None


@pytest.mark.parametrize("arguments", [{"ipc": 0}, {"steps": 0}])
def test_impossible_profiles_are_refused(images, arguments):
    with pytest.raises(NcfmError, match="at least 1"):
        profiling.profile(images, **{"ipc": 1, "settings": SETTINGS} | arguments)


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_the_command_prints_the_stages(monkeypatch, capsys, more):
    monkeypatch.setattr(ceiling, "SIDES", {"cpu": 64})
    settings = [f"--set={key}={value}" for key, value in SETTINGS.items()]
    monkeypatch.setattr(
        "sys.argv", ["ncfm", "plan", "digits", "--ipc", "1", "--steps", "1", "--profile", *settings, *more]
    )
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    out = capsys.readouterr().out
    if more:
        assert {stage["unit"] for stage in json.loads(out)["stages"]} == {"iteration", "teacher epoch"}
        return
    for words in (
        "digits, 1 image per class: iteration",
        "teacher epoch",
        "synthetic forward",
        "A large matrix product",
    ):
        assert words in out
