"""No result is lost at the last step: every command with --results writes its rows, whatever code is the user's own."""

from __future__ import annotations

import inspect

import pytest

from ncfm.cli import compare, continual, evaluate, ledger, main, reproduce, score, search
from ncfm.results.files import read_rows
from ncfm.workflows import rows
from tiny import SETTINGS

OWN = """
import torch
from torch import nn
from ncfm.discrepancy import mean_gap
from ncfm.distillation.objectives import PlainObjective

def network(*, channels, num_classes, image_size):
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * image_size**2, 6), nn.ReLU(), nn.Linear(6, num_classes))

class Objective(PlainObjective):
    def discrepancy(self, real, synthetic, generator):
        return mean_gap(real, synthetic)

class Sampler(nn.Module):
    def __init__(self, *, num_features, num_frequencies):
        super().__init__()
        self.num_features, self.num_frequencies = num_features, num_frequencies
        self.scale = nn.Parameter(torch.ones(num_features))
    def sample(self, generator):
        return self.scale * torch.randn(self.num_frequencies, self.num_features, generator=generator)
"""

PARTS = {
    "none": {},
    "network": {"teachers.network": "own_rows:network", "evaluate.network": "own_rows:network"},
    "registered timm": {"evaluate.network": "timm:resnet10t"},
    "sampler": {"frequencies.family": "own_rows:Sampler"},
    "objective": {"objective.name": "own_rows:Objective"},
}

ON_SET = {  # commands that use a set, with the rows that they write
    "evaluate": ([], 1),
    "score": (["--full-epochs", 1], 1),
    "continual": (["--steps", 2, "--methods", "random"], 4),
    "search": (["--networks", "convnet1w8,mlp1w8,{network}", "--full-epochs", 1], 3),
}


@pytest.fixture(autouse=True)
def own(own_module):
    own_module("own_rows", OWN)


def sets(settings):
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def checked(path, number, network):
    """The rows of a file, each with the conditions of its measurement."""
    found = read_rows(path)
    assert len(found) == number
    for row in found:
        for column in ("device", "threads", "command", "commit", "date"):
            assert row[column] != "", column
    assert network in {row["network"] for row in found}
    return found


def test_every_command_with_results_is_in_this_file():
    takes = {name for name, command in main.COMMANDS.items() if "results" in inspect.signature(command).parameters}
    assert takes == {*ON_SET, "compare", "ledger", "reproduce"}
    for module in (compare, continual, evaluate, ledger, reproduce, score, search):
        assert "results" in inspect.signature(module.command).parameters


@pytest.mark.parametrize("part", PARTS)
def test_commands_on_a_set_write_their_rows(ncfm_, tmp_path, part):
    if part == "registered timm":
        pytest.importorskip("timm")
    own_part = PARTS[part]
    distilled = {key: value for key, value in own_part.items() if key != "evaluate.network"}
    made = ncfm_("distill", "digits", "--ipc", 1, "--recipe", "none", "--out", "run", *sets(SETTINGS | distilled))
    assert made.code == 0, made.err
    networks = {key: value for key, value in own_part.items() if key.endswith("network")}
    network = networks.get("evaluate.network", SETTINGS["evaluate.network"])
    for command, (more, number) in ON_SET.items():
        words = [str(word).format(network=network) for word in more]
        if command == "search":  # a row for each network, once
            number = len(set(words[1].split(",")))
        done = ncfm_(command, "run", *words, "--results", f"{command}.csv", "--runs", 2, *sets(networks))
        assert done.code == 0, (command, done.err)
        checked(tmp_path / f"{command}.csv", number, network)


@pytest.mark.parametrize("part", PARTS)
def test_compare_writes_its_rows(ncfm_, tmp_path, part):
    if part == "registered timm":
        pytest.importorskip("timm")
    own_part = PARTS[part]
    arguments = ["compare", "digits", "--ipc", 1, "--recipe", "none", "--methods", "ncfm,random,herding"]
    done = ncfm_(*arguments, "--results", "all.csv", *sets(SETTINGS | own_part))
    assert done.code == 0, done.err
    checked(tmp_path / "all.csv", 3, own_part.get("evaluate.network", SETTINGS["evaluate.network"]))


@pytest.mark.parametrize("part", ["network", "sampler", "objective"])
def test_reproduce_writes_its_row(ncfm_, tmp_path, part):
    own_part = PARTS[part]
    short = {"teachers.number": 1, "teachers.epochs": 1, "distill.iterations": 2, "evaluate.epochs": 2}
    done = ncfm_("reproduce", "digits-ipc1", "--runs", 2, "--results", "row.csv", *sets(short | own_part))
    assert done.code == 0, done.err
    (row,) = checked(tmp_path / "row.csv", 1, own_part.get("evaluate.network", "convnet2"))
    assert row["ipc"] == "1"
    assert rows.find_row("digits-ipc1").data == row["dataset"]


def test_the_ledger_writes_its_row_with_a_network_of_ones_own(ncfm_, tmp_path):
    made = ncfm_("distill", "digits", "--ipc", 1, "--recipe", "none", "--out", "sets/run", *sets(SETTINGS))
    assert made.code == 0, made.err
    (tmp_path / "sets" / "ledger.toml").write_text('["run"]\non = "digits"\n')
    done = ncfm_(
        *("ledger", "sets", "--results", "ledger.csv", "--runs", 2, "--epochs", 2),
        *sets({"evaluate.network": "own_rows:network", "teachers.epochs": 1}),
    )
    assert done.code == 0, done.err
    checked(tmp_path / "ledger.csv", 1, "own_rows:network")
