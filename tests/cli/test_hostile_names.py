"""Commands on names and code that fail: one sentence, and no internal error."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest

from encoders import encoded
from tiny import SETTINGS


def write_pets(root):
    """Two classes, one of which has a name in Latin-1, with ten images each."""
    for name in (b"dog", b"caf\xe9"):
        folder = os.fsencode(root) + b"/" + name
        os.makedirs(folder)  # noqa: PTH103 - bytes
        for number in range(10):
            with open(folder + b"/n\xe9%d.png" % number, "wb") as file:  # noqa: PTH123
                file.write(encoded(np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)))


def test_names_that_are_not_utf_8_are_printed_with_escapes(ncfm_, tmp_path):
    place = tmp_path / os.fsdecode(b"p\xe9t")
    write_pets(place)
    done = ncfm_("data", place)
    assert done.code == 0, done.err
    assert r"caf\xe9, dog" in done.out
    assert json.loads(ncfm_("data", place, "--json").out)["class_names"] == [r"caf\xe9", "dog"]


@pytest.mark.filterwarnings("default:.*no test split")
def test_a_set_is_distilled_from_such_names(ncfm_, tmp_path):
    place = tmp_path / os.fsdecode(b"p\xe9t")
    write_pets(place)
    chosen = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    done = ncfm_("distill", place, "--ipc", 1, "--recipe", "none", "--out", tmp_path / "run", *chosen)
    assert done.code == 0, done.err
    done = ncfm_("evaluate", tmp_path / "run", "--results", tmp_path / "rows.csv", *chosen)
    assert done.code == 0, done.err


OWN = """
from torch import nn

class Late(nn.Sequential):
    def forward(self, images):
        if self.training:
            raise ZeroDivisionError("late")
        return super().forward(images)

def network(*, channels, num_classes, image_size):
    return Late(nn.Flatten(), nn.Linear(channels * image_size**2, num_classes))
"""


@pytest.mark.parametrize("setting", ["teachers.network"])
def test_a_network_that_fails_in_training_is_named(ncfm_, tmp_path, monkeypatch, setting):
    (tmp_path / "own_late.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)
    chosen = SETTINGS | {setting: "own_late:network"}
    options = [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]
    done = ncfm_("distill", "digits", "--ipc", 1, "--recipe", "none", "--out", "run", *options)
    sys.modules.pop("own_late", None)
    assert done.code == 1
    assert "The network 'own_late:network' failed in own_late.py, line 7: ZeroDivisionError: late." in done.err
