"""Whole commands with a network, a sampler and an objective of one's own."""

from __future__ import annotations

import json

import pytest
import torch

import ncfm
from ncfm._utils.progress import Silent
from ncfm.results.files import read_rows
from tiny import SETTINGS, few

OWN = """
import torch
from torch import nn
from ncfm.discrepancy import mean_gap
from ncfm.distillation.objectives import PlainObjective

def network(*, channels, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 6), nn.ReLU(), nn.Linear(6, num_classes))

class Objective(PlainObjective):
    def __init__(self, *, temperature=1.0):
        self.temperature = temperature
    def discrepancy(self, real, synthetic, generator):
        return self.temperature * mean_gap(real, synthetic)

class Counting(Objective):  # its weight grows with the iterations
    def __init__(self):
        self.iterations = torch.zeros(())
    def discrepancy(self, real, synthetic, generator):
        return (1 + self.iterations) * mean_gap(real, synthetic)
    def state(self):
        return {"iterations": self.iterations}
    def remember(self, real):
        self.iterations += 1

class Sampler(nn.Module):
    def __init__(self, *, num_features, num_frequencies):
        super().__init__()
        self.num_features, self.num_frequencies = num_features, num_frequencies
        self.scale = nn.Parameter(torch.ones(num_features))
    def sample(self, generator):
        return self.scale * torch.randn(self.num_frequencies, self.num_features, generator=generator)
"""

NETWORK = {"teachers.network": "own_code:network", "evaluate.network": "own_code:network"}
OBJECTIVE = {"objective.name": "own_code:Objective", "objective.options.temperature": 2}
SAMPLER = {"frequencies.family": "own_code:Sampler"}


@pytest.fixture(autouse=True)
def own(own_module):
    own_module("own_code", OWN)


def sets(*more):
    settings = SETTINGS.copy()
    for table in more:
        settings |= table
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def distill(out, *more):
    return ["distill", "digits", "--ipc", 1, "--recipe", "none", "--out", out, *sets(*more)]


@pytest.mark.parametrize("own_part", [OBJECTIVE, SAMPLER, NETWORK, OBJECTIVE | NETWORK], ids=lambda t: "+".join(t))
def test_a_set_is_distilled_evaluated_and_written_down(ncfm_, tmp_path, own_part):
    done = ncfm_(*distill(tmp_path / "run", own_part))
    assert done.code == 0, done.err
    facts = ncfm.load(tmp_path / "run").facts
    assert facts["method"] == own_part.get("objective.name", "ncfm")
    for setting, value in own_part.items():
        place = facts["config"]
        for key in setting.split("."):
            place = place[key]
        assert place == value
    networks = {setting: name for setting, name in own_part.items() if "network" in setting}
    given = [part for setting, name in networks.items() for part in ("--set", f"{setting}={name}")]
    judged = ncfm_("evaluate", tmp_path / "run", "--results", tmp_path / "rows.csv", *given)
    assert judged.code == 0, judged.err
    (row,) = read_rows(tmp_path / "rows.csv")
    assert row["network"] == own_part.get("evaluate.network", SETTINGS["evaluate.network"])
    assert row["method"] == facts["method"]
    for column in ("device", "threads", "peak_memory_mb", "command", "commit", "date", "versions"):
        assert row[column] != "", column


class Stop(Silent):
    """Stops a distillation after an iteration."""

    def begin(self, stage, total, unit="step"):
        self.stage = stage

    def update(self, done, note=""):
        if self.stage == "distilling" and done == 2:
            raise ncfm.Interrupted("enough")


@pytest.mark.parametrize("own_part", [SAMPLER, {"objective.name": "own_code:Counting"}], ids=["sampler", "objective"])
def test_a_run_of_ones_own_resumes_as_if_never_stopped(digits, tmp_path, own_part):
    arguments = {"ipc": 1, "recipe": "none", "settings": SETTINGS | {"distill.iterations": 4} | own_part}
    whole = ncfm.distill(few(digits), **arguments).synthetic
    with pytest.raises(ncfm.Interrupted):
        ncfm.distill(few(digits), out=tmp_path / "run", reporter=Stop(), **arguments)
    resumed = ncfm.distill(few(digits), out=tmp_path / "run", resume=True, **arguments).synthetic
    assert torch.equal(whole.images, resumed.images)


def test_a_run_of_ones_own_is_not_resumed_as_another(ncfm_, tmp_path):
    assert ncfm_(*distill(tmp_path / "run", SAMPLER)).code == 0
    assert ncfm_(*distill(tmp_path / "run", SAMPLER), "--resume").code == 0
    other = ncfm_(*distill(tmp_path / "run"), "--resume")
    assert other.code == 2
    assert "config.frequencies.family was 'own_code:Sampler', now 'mixture'" in other.err


def test_methods_of_ones_own_are_compared_and_written_down(ncfm_, tmp_path):
    methods = "gaussian,own_code:Objective,random,full"
    arguments = ["compare", "digits", "--ipc", 1, "--recipe", "none", "--methods", methods, "--out", tmp_path / "all"]
    arguments += [*sets(NETWORK), "--results", tmp_path / "rows.csv", "--json"]
    done = ncfm_(*arguments)
    assert done.code == 0, done.err
    assert [row["name"] for row in json.loads(done.out)] == methods.split(",")
    rows = read_rows(tmp_path / "rows.csv")
    assert [row["method"] for row in rows] == ["ncfm", "own_code:Objective", "random", "full"]
    assert {row["network"] for row in rows} == {"own_code:network"}
    assert all(row["peak_memory_mb"] and row["versions"] for row in rows)
    assert "objective" not in rows[1]["variant"]
    assert ncfm.load(tmp_path / "all" / "own-code-Objective").facts["method"] == "own_code:Objective"
    table = ncfm_(*arguments[:-1])
    assert "own_code:Objective" in table.out.replace("\n", "")


def test_objectives_are_compared_in_python():
    found = ncfm.compare(
        "digits",
        ipc=1,
        methods=["own_code:Objective"],
        recipe="none",
        settings=SETTINGS | {"objective.options.temperature": 2.0},
    )
    assert [one.method for one in found] == ["own_code:Objective"]
    assert "objective.options.temperature=2.0" in found[0].variant


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"objective.name": "own_code:Objectiv"}, "Nearest: Objective"),
        ({"objective.name": "own_cod:Objective"}, "There is no module 'own_cod'"),
        (OBJECTIVE | {"objective.options.temprature": 1}, "temprature"),
        ({"frequencies.family": "own_code:network"}, "The sampler 'own_code:network'"),
        ({"objective.name": "ncfm"}, "Unknown objective 'ncfm'. Did you mean 'ncfd'"),
    ],
)
def test_mistakes_are_told_before_teachers_are_trained(ncfm_, tmp_path, monkeypatch, settings, words):
    from ncfm.training import pretraining

    monkeypatch.setattr(pretraining, "fit", lambda *a, **k: pytest.fail("teachers were trained"))
    done = ncfm_(*distill(tmp_path / "run", settings))
    assert done.code == 2
    assert words in done.err
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_plan_with_an_objective_of_ones_own(ncfm_):
    done = ncfm_("plan", "digits", "--ipc", 1, "--recipe", "none", "--json", *sets(OBJECTIVE, SAMPLER))
    assert done.code == 0, done.err
    assert [stage["name"] for stage in json.loads(done.out)["stages"]] == [
        "teachers",
        "distilling",
        "students",
        "testing",
    ]
