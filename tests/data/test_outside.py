"""The user's own data source, ``module:callable``: what it may return, what it is given, and who may have it called."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm.data import ImageSet, images_of, load_images
from ncfm.data.sources import SOURCES, known_names, short_name
from ncfm.synthetic.storage import load, save
from sets import synthetic
from tiny import SETTINGS

MODULE = """
import numpy as np
import torch
import ncfm

calls = []
draw = np.random.default_rng(0)
PIXELS = draw.integers(0, 256, (24, 8, 8), dtype=np.uint8)
LABELS = np.arange(24) % 3

def pair():
    calls.append({})
    return PIXELS, LABELS

def splits():
    return {"train": (PIXELS[:15], LABELS[:15]), "val": (PIXELS[15:], LABELS[15:]), "extra": None}

class Items(torch.utils.data.Dataset):
    classes = ("a", "b", "c")
    def __len__(self):
        return len(LABELS)
    def __getitem__(self, i):
        return PIXELS[i], int(LABELS[i])

def image_set():
    return ncfm.images_of(splits(), name="own name")

def sized(image_size=12, channels=None):
    calls.append({"image_size": image_size, "channels": channels})
    return pair()

def needs_size(image_size):
    calls.append({"image_size": image_size})
    return pair()

def failing():
    return PIXELS[1000]

def refusing():
    raise ncfm.NcfmError("No photos today.")

def nothing(): ...
def one_class():
    return PIXELS, LABELS * 0
number = 3
"""


@pytest.fixture
def module(own_module):
    """The module in the current folder; imported when it is first named."""
    own_module("mine", MODULE)
    return lambda: sys.modules["mine"]


def expected():
    pixels = np.random.default_rng(0).integers(0, 256, (24, 8, 8), dtype=np.uint8)
    order = np.argsort(np.arange(24) % 3, kind="stable")
    return torch.from_numpy(pixels[order])[:, None]


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["mine:pair", "mine:Items"])
def test_what_the_callable_returns_becomes_a_set_of_its_name(name):
    images = load_images(name)
    assert isinstance(images, ImageSet)
    assert images.name == name
    assert torch.equal(images.train.images, expected())
    assert images.class_names == (("a", "b", "c") if name == "mine:Items" else ("0", "1", "2"))
    assert images.test is None


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize("name", ["mine:splits", "mine:image_set"])
def test_splits_are_found_by_their_names(name):
    images = load_images(name)
    assert images.name == name
    assert (len(images.train), len(images.test)) == (15, 9)
    assert images.fingerprint == load_images("mine:splits").fingerprint


@pytest.mark.parametrize(
    ("name", "asked", "given"),
    [
        ("mine:sized", {}, {"image_size": 12, "channels": None}),  # its own defaults
        ("mine:sized", {"image_size": 4, "channels": 3}, {"image_size": 4, "channels": 3}),
        ("mine:needs_size", {}, {"image_size": None}),
        ("mine:pair", {"image_size": 4, "channels": 3}, {}),
    ],
)
def test_the_callable_gets_the_options_that_it_takes(module, name, asked, given):
    images = load_images(name, **asked)
    assert given in module().calls
    # What it does not do itself is done afterwards.
    assert images.image_size == asked.get("image_size", 8)
    assert images.channels == asked.get("channels", 1)


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "kind", "message"),
    [
        ("mine:pears", InputError, "has no 'pears', which the data source 'mine:pears' names. Nearest: pair"),
        ("yours:pair", InputError, "There is no module 'yours'"),
        ("mine:number", InputError, "must be callable, got a int"),
        ("mine:failing", RunError, "The data source 'mine:failing' failed: IndexError: index 1000"),
        ("mine:refusing", NcfmError, "^No photos today.$"),
        ("mine:nothing", InputError, r"expected a pair \(images, labels\), or a dataset .* got NoneType"),
        ("mine:one_class", InputError, "mine:one_class: expected images of at least 2 classes, got 1"),
    ],
)
def test_sources_that_cannot_be_used(name, kind, message):
    with pytest.raises(NcfmError, match=message) as caught:
        load_images(name)
    assert type(caught.value) is kind


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(("option", "message"), [({"image_size": 4}, "image_size 8"), ({"channels": 3}, "channels 1")])
def test_an_image_set_of_another_form_than_asked_for(option, message):
    with pytest.raises(NcfmError, match=f"returned images with {message}, but"):
        load_images("mine:image_set", **option)


def test_a_folder_of_that_name_comes_first(module, tmp_path):
    for name in "ab":
        (tmp_path / "mine:pair" / name).mkdir(parents=True)
    with pytest.raises(NcfmError, match="at least one image in the class folders of mine:pair"):
        load_images("mine:pair")
    with pytest.raises(KeyError):
        module()


@pytest.mark.parametrize("name", ["no such name", "hf", "a:b:c", "1:2"])
def test_other_names_are_no_sources(name):
    with pytest.raises(NcfmError, match=r"Unknown dataset .* Known: digits, .*hf:owner/name, a path, module:callable"):
        load_images(name)


def test_every_source_leaves_other_names_to_the_others():
    assert known_names()[0] == "digits"
    assert len(known_names()) == len(set(known_names()))
    assert [source.forms for source in SOURCES if not source.is_list] == [
        ("hf:owner/name",),
        ("a path",),
        ("module:callable",),
    ]


def test_a_mapping_and_a_test_split_contradict_each_other():
    pair = (np.zeros((2, 4, 4), np.uint8), [0, 1])
    with pytest.raises(NcfmError, match="got both"):
        images_of({"train": pair}, pair)
    with pytest.raises(NcfmError, match="expected a train split, found test"):
        images_of({"test": pair})


# --- recorded names -----------------------------------------------------------------------------------------


@pytest.fixture
def of_own_data(module, tmp_path):
    """A set that records the user's code as its data, which has not been imported."""
    save(synthetic(facts={"data": "mine:pair", "config": {}}), tmp_path / "set")
    return tmp_path / "set"


@pytest.mark.parametrize("use", [ncfm.evaluate, ncfm.score, ncfm.continual])
def test_a_set_does_not_have_code_imported(module, of_own_data, use):
    for source in (of_own_data, load(of_own_data)):
        with pytest.raises(NcfmError, match=r"'mine:pair'.* only if you name it yourself: --on mine:pair"):
            use(source)
    with pytest.raises(KeyError):
        module()


def test_a_report_does_not_have_code_imported(module, of_own_data):
    written = ncfm.write_report(of_own_data)
    assert "only if you name it yourself: --on mine:pair" in written.missing["data"]
    with pytest.raises(KeyError):
        module()


@pytest.mark.usefixtures("module")
def test_distilled_and_evaluated_by_name(ncfm_, tmp_path):
    settings = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    done = ncfm_("distill", "mine:splits", "--ipc", 1, "--quiet", *settings)
    assert done.code == 0, done.err
    run = tmp_path / "runs" / "mine-splits-ipc1"
    assert load(run).facts["data"] == "mine:splits"
    refused = ncfm_("evaluate", run, "--quiet")
    assert (refused.code, "--on mine:splits" in " ".join(refused.err.split())) == (2, True)
    done = ncfm_("evaluate", run, "--on", "mine:splits", "--quiet")
    assert done.code == 0, done.err
    done = ncfm_("report", run, "--on", "mine:splits", "--quiet")
    assert done.code == 0, done.err
    assert "Left out: The real data" not in done.out


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("pkg.mod:photos", "pkg.mod-photos"),
        ("hf:owner/pets.v2", "pets"),
        ("/data/photos", "photos"),
        ("digits", "digits"),
    ],
)
def test_short_names_are_parts_of_file_names(data, name):
    assert short_name(data) == name
