"""Code that a set or a run folder names is not imported; only what the user names is."""

from __future__ import annotations

import json
import shutil
import sys

import pytest

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import config_of_set, data_of_set
from ncfm.config.schema import RunConfig
from ncfm.networks import create_network
from ncfm.synthetic.folders import CONFIG_FILE
from tiny import SETTINGS, few

TRAP = """
from pathlib import Path
from torch import nn

Path({file!r}).touch()

def make(*, channels, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, num_classes))
"""

# Every place of a configuration that can name code.
NAMED = {
    "teachers.network": "trap:make",
    "evaluate.network": "trap:make",
    "objective.name": "trap:make",
    "objective.options.x": 1,
    "frequencies.family": "trap:make",
}
OWN = {"evaluate.network": "trap:make", "teachers.network": "trap:make"}
SAFE = {key: SETTINGS[key] for key in OWN}


class Trap:
    """A module that leaves a file when it is imported."""

    def __init__(self, folder):
        self.file = folder / "imported"
        (folder / "trap.py").write_text(TRAP.format(file=str(self.file)))

    @property
    def sprung(self):
        return self.file.exists() or "trap" in sys.modules


@pytest.fixture
def trap(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield Trap(tmp_path)
    sys.modules.pop("trap", None)


@pytest.fixture(scope="module")
def made(digits, tmp_path_factory):
    """A run folder of few images, with ordinary settings."""
    folder = tmp_path_factory.mktemp("made") / "run"
    ncfm.distill(few(digits), ipc=1, recipe="none", settings=SETTINGS, out=folder)
    return folder


@pytest.fixture
def run(made, tmp_path):
    """The same folder, whose records name the module: as an attacker would write them."""
    folder = tmp_path / "run"
    shutil.copytree(made, folder)
    for place in (folder / CONFIG_FILE, folder / "synthetic" / "set.json"):
        stored = json.loads(place.read_text())
        owner = stored if "config" in stored else stored["facts"]
        owner["config"] = make_config(nest(SETTINGS | NAMED)).model_dump(mode="json")
        place.write_text(json.dumps(stored))
    return folder


def test_the_trap_springs_for_whoever_names_it(trap):
    create_network("trap:make", channels=1, num_classes=2, image_size=4, seed=0)
    assert trap.sprung


def test_loading_and_reading_import_nothing(trap, run):
    synthetic = ncfm.load(run)
    assert synthetic.facts["config"]["objective"]["name"] == "trap:make"
    synthetic.decoded()
    ncfm.save(synthetic, run / "copy")
    assert not trap.sprung


@pytest.mark.parametrize("with_data", [False, True])
def test_a_report_imports_nothing(trap, run, with_data, monkeypatch, digits):
    monkeypatch.setattr("ncfm.workflows.preparation.build_data", lambda *_: few(digits))
    written = ncfm.write_report(run, with_data=with_data)
    assert not trap.sprung
    assert "trap:make" in written.path.read_text()  # among the settings
    assert ("--set teachers.network=trap:make" in written.missing["data"]) == with_data


def test_a_report_takes_the_network_that_the_user_names(trap, run, monkeypatch, digits):
    monkeypatch.setattr("ncfm.workflows.preparation.build_data", lambda *_: few(digits))
    safe = ncfm.write_report(run, settings=SAFE)
    assert "data" not in safe.missing
    assert not trap.sprung
    assert "data" not in ncfm.write_report(run, settings=OWN).missing
    assert trap.sprung


USES = {
    "evaluate": lambda run, images, settings: ncfm.evaluate(run, images, settings=settings),
    "score": lambda run, images, settings: ncfm.score(run, images, full_epochs=1, settings=settings),
    "continual": lambda run, images, settings: ncfm.continual(
        run, images, steps=2, methods=["random"], settings=settings
    ),
}
every_use = pytest.mark.parametrize("use", USES.values(), ids=USES)


@every_use
def test_students_of_a_recorded_network_are_refused(trap, run, digits, use):
    with pytest.raises(NcfmError, match=r"'trap:make' as its evaluate.network.*--set evaluate.network=trap:make"):
        use(run, few(digits), {})
    assert not trap.sprung


@every_use
def test_students_of_another_network_need_no_recorded_code(trap, run, digits, use):
    use(run, few(digits), {"evaluate.network": SETTINGS["evaluate.network"], "evaluate.runs": 1})
    assert not trap.sprung


@every_use
def test_students_of_the_network_that_the_user_names(trap, run, digits, use):
    use(run, few(digits), {"evaluate.network": "trap:make", "evaluate.runs": 1})
    assert trap.sprung


@pytest.mark.parametrize(
    "use",
    [
        lambda run, images, settings: ncfm.evaluate(run, images, settings=settings | {"evaluate.labels": "teacher"}),
        lambda run, images, settings: ncfm.score(run, images, settings=settings | {"evaluate.labels": "teacher"}),
        lambda run, images, settings: ncfm.continual(run, images, methods=["herding"], settings=settings),
        lambda run, images, settings: ncfm.search(
            run,
            images,
            networks=["convnet1w4", "convnet1w8", "mlp1w8"],
            settings=settings | {"evaluate.labels": "teacher"},
        ),
    ],
    ids=["evaluate", "score", "continual", "search"],
)
def test_teachers_of_a_recorded_network_are_refused(trap, run, digits, use):
    with pytest.raises(NcfmError, match=r"'trap:make' as its teachers.network.*--set teachers.network=trap:make"):
        use(run, few(digits), {"evaluate.network": SETTINGS["evaluate.network"]})
    assert not trap.sprung


def test_a_search_ranks_the_networks_that_the_user_names(trap, run, digits):
    networks = ["convnet1w4", "convnet1w8", "mlp1w8"]
    ncfm.search(run, few(digits), networks=networks, full_epochs=1, settings={"evaluate.runs": 1})
    assert not trap.sprung


def test_resuming_imports_nothing_that_only_the_folder_names(trap, run, digits):
    with pytest.raises(NcfmError, match=r"holds a run with other settings .*'trap:make', now"):
        ncfm.distill(few(digits), ipc=1, recipe="none", settings=SETTINGS, out=run, resume=True)
    assert not trap.sprung


@pytest.mark.filterwarnings("default:The set was made from few digits")
def test_commands_import_nothing(trap, run, ncfm_):
    out = str(run)
    for command in (
        ["evaluate", out, "--on", "digits"],
        ["score", out, "--on", "digits"],
        ["continual", out, "--on", "digits"],
        ["report", out],
        ["diagnose", out],
        ["export", out, "--to", "npz", "--out", str(run / "x.npz")],
        ["distill", "digits", "--ipc", "1", "--recipe", "none", "--out", out, "--resume"],
    ):
        ncfm_(*command)
        assert not trap.sprung, command


def test_the_configuration_of_a_set_is_its_own_but_for_code():
    recorded = make_config(nest(SETTINGS | NAMED | {"evaluate.epochs": 7})).model_dump(mode="json")
    config = config_of_set(recorded, {"evaluate.runs": 9}, 5)
    assert (config.evaluate.epochs, config.evaluate.runs, config.seed) == (7, 9, 5)
    assert (config.objective, config.frequencies) == (RunConfig().objective, RunConfig().frequencies)
    for setting in ("teachers", "evaluate"):
        with pytest.raises(NcfmError, match=f"--set {setting}.network=trap:make"):
            create_network(getattr(config, setting).network, channels=1, num_classes=2, image_size=4, seed=0)
    assert config_of_set(recorded, OWN, None).teachers.network == "trap:make"
    assert config_of_set(recorded, {"teachers": {"network": "other:make"}}, None).teachers.network == "other:make"
    ordinary = make_config(nest(SETTINGS | {"evaluate.network": "timm:resnet18"}))
    assert config_of_set(ordinary.model_dump(mode="json"), None, None).evaluate.network == "timm:resnet18"


def test_the_data_of_a_set_are_recorded_or_named_but_no_code():
    assert data_of_set({"data": "digits"}, None) == "digits"
    assert data_of_set({"data": "hf:owner/name"}, None) == "hf:owner/name"
    assert data_of_set({"data": "trap:make"}, "digits") == "digits"
    with pytest.raises(NcfmError, match="--on trap:make"):
        data_of_set({"data": "trap:make"}, None)
    with pytest.raises(NcfmError, match="what data it was made from"):
        data_of_set({}, None)
