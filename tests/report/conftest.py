"""A run of digits with its diagnosis, snapshots and scores, to report on."""

from __future__ import annotations

import shutil

import pytest

import ncfm
from ncfm._utils.files import write_json
from ncfm.synthetic.folders import SCORES_FILE
from pages import score
from tiny import SETTINGS


@pytest.fixture(scope="session")
def finished(tmp_path_factory, digits):
    folder = tmp_path_factory.mktemp("runs") / "mine"
    ncfm.distill(digits, ipc=1, recipe="none", settings=SETTINGS | {"machine.diagnose_every": 1}, out=folder, seed=3)
    write_json(folder / SCORES_FILE, [score(0.61)])
    return folder


@pytest.fixture
def run(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "mine")
