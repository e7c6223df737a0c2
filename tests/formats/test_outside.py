"""The user's own export, ``module:callable``: what it is given, and that places are treated as for other formats."""

from __future__ import annotations

import json
import sys

import pytest
import torch

from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm._utils.types import Statistics
from ncfm.formats import export
from ncfm.synthetic.storage import save
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import synthetic, with_soft_labels

MODULE = """
import json
import torch
from ncfm import NcfmError

given = []

def write(content, folder):
    given.append(content)
    assert not list(folder.iterdir())
    for name, count in zip(content.folder_names, content.labels.bincount().tolist()):
        (folder / name).mkdir()
        (folder / name / "count.txt").write_text(str(count))

def half(content, folder):
    (folder / "half").write_text("half")
    return {}["missing"]

def refusing(content, folder):
    raise NcfmError("No room for grey images.")

def full_disk(content, folder):
    raise OSError("no space left")

def nothing(content, folder): ...
def index(content, folder):
    (folder / "classes.json").write_text("{}")
def other(): ...
"""

HOSTILE = ("../x", "a/b", "", "con", "crane", "crane", "..", "a\x00b\n|`<b>")


@pytest.fixture
def module(own_module):
    own_module("mine", MODULE)
    return lambda: sys.modules["mine"]


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_it_gets_the_content_and_an_empty_folder(module, digits, tmp_path):
    made = with_soft_labels(digits)
    done = export(made, tmp_path / "out", to="mine:write")
    (content,) = module().given
    assert torch.equal(content.images, made.decoded().images)
    assert torch.equal(content.values, content.images)  # 32 bits unless asked otherwise
    assert torch.equal(content.log_probabilities, made.soft_labels.log_probabilities())
    assert (done.to, done.num_images, done.num_classes, done.bits, done.stored) == ("mine:write", 80, 10, 32, False)
    assert done.soft_labels
    index = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert (index["format"], index["class_names"]) == ("ncfm-export", list(digits.class_names))
    export(made, tmp_path / "stored", to="mine:write", stored=True, bits=8)
    content = module().given[-1]
    assert content.values.dtype == torch.uint8
    assert content.values.shape == (20, 1, 8, 8)
    assert content.log_probabilities is None


@pytest.mark.usefixtures("module")
def test_it_is_replaced_by_force_alone_and_nothing_else_is(tmp_path):
    place = tmp_path / "out"
    export(synthetic(), place, to="mine:write")
    before = contents(place)
    with pytest.raises(NcfmError, match="exists already"):
        export(synthetic(ipc=3), place, to="mine:write")
    assert contents(place) == before
    export(synthetic(ipc=3), place, to="mine:write", force=True)
    assert contents(place)["0_cat/count.txt"] == b"3"
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "me.jpg").write_bytes(b"me")
    with pytest.raises(NcfmError, match="photos"):
        export(synthetic(), tmp_path / "photos", to="mine:write", force=True)
    assert contents(tmp_path / "photos") == {"me.jpg": b"me"}


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("to", "kind", "message"),
    [
        ("mine:half", RunError, "The export 'mine:half' failed: KeyError: 'missing'"),
        ("mine:refusing", NcfmError, "^No room for grey images.$"),
        ("mine:full_disk", RunError, "no space left.*What was there before is unchanged"),
        ("mine:nothing", RunError, r"wrote nothing; it gets \(content, folder\)"),
        ("mine:index", RunError, "wrote classes.json, which ncfm adds"),
        ("mine:other", RunError, "failed: TypeError: other.. takes 0 positional arguments"),
        ("mine:writes", InputError, "has no 'writes', which the export 'mine:writes' names. Nearest: write"),
        ("yours:write", InputError, "There is no module 'yours'"),
    ],
)
def test_one_that_fails_leaves_what_was_there(tmp_path, to, kind, message):
    place = tmp_path / "in" / "out"
    export(synthetic(), place, to="mine:write")
    before = contents(tmp_path / "in")
    with pytest.raises(NcfmError, match=message) as caught:
        export(synthetic(ipc=3), place, to=to, force=True)
    assert type(caught.value) is kind
    assert contents(tmp_path / "in") == before
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["out"]  # nothing temporary is left


@pytest.mark.usefixtures("module")
def test_hostile_class_names_have_plain_folders(tmp_path):
    made = SyntheticSet(torch.rand(len(HOSTILE), 1, 1, 8, 8), HOSTILE, Statistics((0.5,), (0.5,)))
    export(made, tmp_path / "in" / "out", to="mine:write")
    assert [p.name for p in (tmp_path / "in").iterdir()] == ["out"]
    folders = sorted(p.name for p in (tmp_path / "in" / "out").iterdir() if p.is_dir())
    assert folders == ["0_x", "1_a-b", "2", "3_con", "4_crane", "5_crane", "6", "7_a-b-b"]
    assert json.loads((tmp_path / "in" / "out" / "classes.json").read_text())["class_names"] == list(HOSTILE)


@pytest.mark.usefixtures("module")
def test_by_name_on_the_command_line(ncfm_, tmp_path):
    save(synthetic(), tmp_path / "set")
    done = ncfm_("export", "set", "--to", "mine:write", "--out", "out")
    assert done.code == 0, done.err
    assert "Wrote out: a folder, written by mine:write." in done.out
    assert (tmp_path / "out" / "1_dog" / "count.txt").read_text() == "2"
    assert ncfm_("export", "set", "--to", "mine:half", "--out", "other").code == 1
    assert not (tmp_path / "other").exists()
    wrong = ncfm_("export", "set", "--to", "tar", "--out", "other")
    assert (wrong.code, "Unknown format 'tar'" in wrong.err) == (2, True)
