"""Commands as people type them: what is printed, or the one line that says why not and what to do."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import ncfm
from image_files import picture, write_image
from ncfm.data.levels import to_float
from tiny import SETTINGS

FLAGS = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
QUICK = [*FLAGS, "--runs", "1", "--epochs", "1"]
pytestmark = pytest.mark.filterwarnings("default")

NETWORKS = """
import torch

def without_linear(*, channels, num_classes, image_size):
    return torch.nn.Sequential(torch.nn.Conv2d(channels, num_classes, image_size), torch.nn.Flatten())

class Failing(torch.nn.Module):
    def forward(self, x):
        raise KeyError("attention")

def failing(*, channels, num_classes, image_size):
    return Failing()
"""


def pets(root):
    """A folder of 12 grey pictures of cats and 12 of dogs."""
    for number in range(24):
        write_image(root / ("cat", "dog")[number // 12] / f"{number}.png", number, 8, grey=True)
    return root


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of pictures, and a finished run on it by its relative path; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    pets(root / "pets")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        with pytest.warns(UserWarning, match="no test split"):
            ncfm.distill("pets", ipc=1, recipe="none", settings=SETTINGS, out=root / "run")
    return root


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of both in the working folder."""
    for name in ("pets", "run"):
        shutil.copytree(made / name, tmp_path / name)
    for record in (tmp_path / "run" / "config.json", tmp_path / "run" / "synthetic" / "set.json"):
        record.write_text(record.read_text().replace(str(made), str(tmp_path)))
    (tmp_path / "own_networks.py").write_text(NETWORKS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def move(place):
    (place / "pets" / "cat" / "0.png").rename(place / "pets" / "dog" / "100.png")


def add(place):
    for number in range(100, 110):  # some of them are training images
        write_image(place / "pets" / "cat" / f"{number}.png", number, 8, grey=True)


def nothing(place):
    """Everything is there already."""


def interrupted(place):
    """A run without its set, as one that was stopped."""
    shutil.rmtree(place / "run" / "synthetic")


def theirs(place):
    pixels = np.stack([picture(n, 8, grey=True) for n in (0, 1, 12, 13)])
    torch.save((to_float(torch.from_numpy(pixels)) * 1.4 - 0.2, torch.tensor([0, 0, 1, 1])), place / "theirs.pt")


def sizes(place):
    Image.fromarray(picture(0, 9)).save(place / "pets" / "cat" / "large.png")


def single(place):
    """A class folder of one image each, and no test split."""
    for number, name in enumerate(("cat", "dog")):
        write_image(place / "few" / name / "0.png", number)


def zipped(place):
    shutil.make_archive(str(place / "theirs"), "zip", place / "pets")


DISTILL = ["distill", "pets", "--ipc", "1", "--out", "run", *FLAGS]
REFUSED = {
    "a moved file, evaluated": (
        move,
        ["evaluate", "run"],
        "are not those that the set was made from",
        "--changed-data",
    ),
    "added images, evaluated": (add, ["evaluate", "run"], "are not those that the set was made from", "--changed-data"),
    "changed data, resumed": (
        move,
        [*DISTILL, "--resume"],
        "on other training images than pets has now",
        "another folder",
    ),
    "an unfinished run, evaluated": (
        interrupted,
        ["evaluate", "run"],
        "is not finished and has no set yet",
        "--resume",
    ),
    "an unfinished run, exported": (
        interrupted,
        ["export", "run", "--to", "npz", "--out", "a.npz"],
        "is not finished and has no set yet",
        "--resume",
    ),
    "a run folder that exists": (nothing, DISTILL, "run already holds a run", "--resume, or choose another folder"),
    "a network that fails": (
        nothing,
        ["evaluate", "run", "--networks", "own_networks:failing"],
        "The network 'own_networks:failing'",
        "KeyError",
    ),
    "floats that need a name": (
        theirs,
        ["evaluate", "theirs.pt", "--on", "pets"],
        "got -0.2 to 1.2",
        "--normalized-by",
    ),
    "an external set without data": (theirs, ["evaluate", "theirs.pt"], "does not record its source dataset", "--on"),
    "an archive as a set": (
        zipped,
        ["evaluate", "theirs.zip", "--on", "pets"],
        "theirs.zip is an archive",
        "unpack it",
    ),
    "a mistyped set": (nothing, ["evaluate", "rum"], "rum does not exist", "Did you mean 'run'?"),
    "a mistyped dataset": (nothing, ["data", "petz"], "Unknown dataset 'petz'", "Did you mean 'pets'?"),
    "CIFAR10": (nothing, ["data", "CIFAR10"], "Unknown dataset 'CIFAR10'", "Did you mean 'cifar10'?"),
    "too few images for a test split": (
        single,
        ["data", "few"],
        "got 2 images of 2 class",
        "Add images, or a test split",
    ),
    "sizes that differ": (sizes, ["data", "pets"], "2 different sizes", "--set data.image_size="),
    "columns of a folder": (nothing, ["data", "pets", "--label-column", "y"], "has no columns", "leave out"),
    "a wrong suffix": (nothing, ["export", "run", "--to", "npz", "--out", "a.jpg"], "got a.jpg", "ending in .npz"),
    "an unknown format": (nothing, ["export", "run", "--to", "jpg", "--out", "a"], "Unknown format 'jpg'", "Known: "),
}


@pytest.mark.parametrize(("change", "command", "wrong", "remedy"), REFUSED.values(), ids=REFUSED.keys())
def test_a_refusal_is_one_line_with_a_remedy(ncfm_, place, change, command, wrong, remedy):
    change(place)
    done = ncfm_(*command, *(QUICK if command[0] == "evaluate" else ()))
    line = done.err.strip().splitlines()[-1]
    assert done.code in (1, 2)
    assert line.startswith("ncfm: ")
    assert wrong in line
    assert remedy in line


def evaluated(ncfm_, *arguments):
    done = ncfm_("evaluate", *arguments, "--json", *QUICK)
    assert done.code == 0, done.err
    return json.loads(done.out)[0], done.err


def test_changed_data_are_evaluated_on_request(ncfm_, place):
    move(place)
    _, said = evaluated(ncfm_, "run", "--changed-data")
    assert "are not those that the set was made from" in said


def test_a_relative_path_from_another_folder(ncfm_, place, monkeypatch):
    (place / "elsewhere").mkdir()
    monkeypatch.chdir(place / "elsewhere")
    done = ncfm_("evaluate", "../run", *QUICK)
    assert done.code == 2
    assert f"the data 'pets', a path relative to {place}" in done.err
    assert f"--on {place / 'pets'}" in done.err
    evaluated(ncfm_, "../run", "--on", place / "pets")


def test_a_network_without_a_linear_layer_is_a_student(ncfm_, place):
    found, _ = evaluated(ncfm_, "run", "--networks", "own_networks:without_linear")
    assert found["network"] == "own_networks:without_linear"


def test_a_named_normalisation_is_printed(ncfm_, place):
    theirs(place)
    _, said = evaluated(ncfm_, "theirs.pt", "--on", "pets", "--normalized-by", "none")
    assert "theirs.pt: taken as pixels" in said
    assert "are kept" in said


def test_mosaics_of_others_are_decoded(ncfm_, place):
    theirs(place)
    found, _ = evaluated(ncfm_, "theirs.pt", "--on", "pets", "--normalized-by", "none", "--factor", "2")
    assert found["num_images"] == 16


def test_an_interval_lies_between_0_and_100(ncfm_, place):
    done = ncfm_("evaluate", "run", *FLAGS, "--runs", "2", "--epochs", "1", "--json")
    low, high = (json.loads(done.out)[0][key] for key in ("accuracy_low", "accuracy_high"))
    assert 0 <= low <= high <= 1


def test_what_is_left_unread_is_printed(ncfm_, place):
    (place / "pets" / "cat" / "0.heic").touch()
    (place / "pets" / "notes.txt").touch()
    done = ncfm_("data", "pets")
    assert "train: 2 files left unread: 1 .heic, 1 .txt" in done.out
    assert "No problems found." not in done.out
