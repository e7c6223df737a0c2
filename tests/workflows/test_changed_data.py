"""Data that change after a set was made, or during a run: refused, unless the user says otherwise."""

from __future__ import annotations

import json
import shutil
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import ncfm
from ncfm._utils.checks import InputError
from ncfm.config.build import build_data
from ncfm.config.layers import make_config
from ncfm.data import ImageSet
from ncfm.workflows.changed_data import fingerprint_of_run
from tiny import SETTINGS, few

CHANGED = "are not those that the set was made from"
FLAGS = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*no test split",  # the fixture `made` expects it
    "default:.*are repeated",
    "default:.*the set was made from",
    "default:The set was made from",
)


def image(number):
    """Noise of 8 x 8 px, always the same for a number."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of images without a test split, and a set distilled from it; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    for c, label in enumerate(("cat", "dog")):
        (root / "photos" / label).mkdir(parents=True)
        for i in range(20):
            image(20 * c + i).save(root / "photos" / label / f"{i}.png")
    with pytest.warns(UserWarning, match="no test split"):
        ncfm.distill(str(root / "photos"), ipc=1, recipe="none", settings=SETTINGS, out=root / "run")
    return root


@pytest.fixture
def place(made, tmp_path, monkeypatch):
    """A copy of both, in the working folder, where the paths of the data are relative."""
    for name in ("photos", "run"):
        shutil.copytree(made / name, tmp_path / name)
    for record in (tmp_path / "run" / "config.json", tmp_path / "run" / "synthetic" / "set.json"):
        record.write_text(record.read_text().replace(str(made / "photos"), "photos"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def is_held_out(picture, data):
    """Whether the pixels of a picture are among the test images of the data."""
    pixels = torch.tensor(np.array(picture))
    return any(torch.equal(pixels, other[0]) for other in build_data(str(data), make_config()).test.images)


def add(place, *, held_out):
    """Add an image to the class of cats that falls into the held-out part, or does not."""
    file = place / "photos" / "cat" / "new.png"
    for number in range(1000, 1100):
        image(number).save(file)
        if is_held_out(image(number), place / "photos") == held_out:
            return
    raise AssertionError("no such image")


def move(place):
    """Move a training image from the cats to the dogs."""
    photos = place / "photos"
    number = next(i for i in range(20) if not is_held_out(image(i), photos))
    (photos / "cat" / f"{number}.png").rename(photos / "dog" / f"{100 + number}.png")


# --- sets ---------------------------------------------------------------------------------------------------


def test_unchanged_data_are_evaluated_without_a_word(ncfm_, place):
    done = ncfm_("evaluate", "run", "--json")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)[0]["accuracies"]) == 2
    assert "was made from" not in done.err


@pytest.mark.parametrize("change", [move, lambda place: add(place, held_out=False)], ids=["moved", "added"])
def test_changed_data_are_refused_and_evaluated_on_request(ncfm_, place, change):
    change(place)
    refused = ncfm_("evaluate", "run")
    assert refused.code == 2
    assert f"The training images of photos {CHANGED}" in " ".join(refused.err.split())
    assert "--changed-data" in refused.err
    done = ncfm_("evaluate", "run", "--json", "--changed-data")
    assert done.code == 0, done.err
    assert len(json.loads(done.out)[0]["accuracies"]) == 2
    assert "may be among the test images" in " ".join(done.err.split())


def test_the_message_counts_the_images(place):
    before = ncfm.load("run").facts["data_fingerprint"]
    number = ncfm.load("run").facts["training_images"]
    add(place, held_out=False)
    now = build_data("photos", make_config())
    expected = (
        rf"\({number} images, fingerprint {before[:8]}; now {number + 1} images, fingerprint {now.fingerprint[:8]}"
    )
    with pytest.raises(InputError, match=expected):
        ncfm.evaluate("run")


def test_an_added_test_image_is_no_change_of_the_training_images(place):
    before = build_data("photos", make_config())
    add(place, held_out=True)
    after = build_data("photos", make_config())
    assert len(after.test) == len(before.test) + 1
    assert after.fingerprint == before.fingerprint
    assert len(ncfm.evaluate("run").accuracies) == 2


@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "run", "--on", "photos"],
        ["evaluate", "run", "--networks", "convnet1w8,mlp"],
        ["score", "run", "--full-epochs", "1"],
        ["continual", "run", "--steps", "2", "--methods", "random"],
        ["search", "run", "--networks", "convnet1w8,mlp,convnet2w8", "--full-epochs", "1"],
    ],
    ids=lambda command: " ".join(command[:3]),
)
def test_every_command_on_a_set_refuses_changed_data(ncfm_, place, command):
    move(place)
    refused = ncfm_(*command)
    assert refused.code == 2
    assert CHANGED in " ".join(refused.err.split())
    if command[0] != "evaluate":
        done = ncfm_(*command, "--changed-data", "--runs", "1", "--epochs", "1")
        told = " ".join(done.err.split())
        assert "may be among the test images" in told
        assert done.code == 0 or "A ranking needs differing values" in told, told  # of noise


def test_a_report_leaves_changed_data_out(ncfm_, place):
    move(place)
    done = ncfm_("report", "run", "--device", "cpu")
    assert done.code == 0, done.err
    assert f"Left out: The real data could not be used: The training images of photos {CHANGED}" in " ".join(
        done.out.split()
    )
    assert "Near copy: the root-mean-square" not in (place / "run" / "report.html").read_text()
    done = ncfm_("report", "run", "--device", "cpu", "--changed-data")
    assert done.code == 0, done.err
    assert "are not identical to those that the set was made from" in (place / "run" / "report.html").read_text()


def test_other_data_may_be_named(ncfm_, place):
    shutil.copytree(place / "photos", place / "others")
    same = ncfm_("evaluate", "run", "--on", "others", "--json")
    assert same.code == 0, same.err
    assert "was made from" not in same.err  # the same images at another place
    move(place)
    (place / "others" / "cat" / "0.png").unlink()
    done = ncfm_("evaluate", "run", "--on", "others", "--json")
    assert done.code == 0, done.err
    told = " ".join(done.err.split())
    assert "The set was made from photos, whose training images are others than those of others" in told


def test_the_same_folder_by_another_path_is_the_same_data(place):
    move(place)
    with pytest.raises(InputError, match=CHANGED):
        ncfm.evaluate("run", str(place / "photos"))


def test_other_classes_are_refused_even_on_request(place):
    (place / "photos" / "cat").rename(place / "photos" / "wolf")
    with pytest.raises(InputError, match=r"The set has classes cat, dog, .* the data dog, wolf"):
        ncfm.evaluate("run", changed_data=True)


def test_a_set_without_a_fingerprint_is_evaluated(place):
    record = place / "run" / "synthetic" / "set.json"
    stored = json.loads(record.read_text())
    del stored["facts"]["data_fingerprint"]
    record.write_text(json.dumps(stored))
    move(place)
    assert len(ncfm.evaluate("run").accuracies) == 2


@pytest.mark.parametrize(
    ("own", "later"),
    [
        ({"data.image_size": 6}, {}),
        ({"data.zca": True}, {}),
        ({}, {"data.zca": True}),
        ({"data.validation": 0.3}, {}),
        ({"data.validation": 0.3}, {"data.validation": None}),
        ({"data.test_fraction": 0.5}, {"data.test_fraction": 0.3}),
    ],
    ids=str,
)
def test_settings_that_change_the_images_are_no_change_of_the_data(place, own, later):
    """The set's own settings, and others at its evaluation: only changed files are refused."""
    result = ncfm.distill("photos", ipc=1, recipe="none", settings=SETTINGS | own)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*the set was made from")
        assert len(ncfm.evaluate(result.synthetic, settings=later).accuracies) == 2
    move(place)
    with pytest.raises(InputError, match=CHANGED):
        ncfm.evaluate(result.synthetic, settings=later)


def test_test_images_that_the_set_was_made_from_are_counted(place):
    made, later = (build_data("photos", make_config({"data": {"test_fraction": f}})) for f in (0.2, 0.6))
    count = len(later.test) - len(made.test)  # a lower limit holds out a part of what a higher one does
    message = f"{count} of {len(later.test)} test images of photos are, with these settings, among those that the set"
    with pytest.warns(UserWarning, match=message):
        ncfm.evaluate("run", settings={"data.test_fraction": 0.6})
    validation = build_data("photos", make_config({"data": {"validation": 0.3}}))
    message = f"{len(validation.test)} of {len(validation.test)} test images of photos@validation are"
    with pytest.warns(UserWarning, match=message):
        ncfm.evaluate("run", settings={"data.validation": 0.3})


def test_data_that_cannot_be_read_with_the_settings_of_the_set(place):
    image(0).resize((9, 9)).save(place / "photos" / "dog" / "large.png")  # needs data.image_size
    with pytest.raises(InputError, match="now they cannot be read with its settings"):
        ncfm.evaluate("run", settings={"data.image_size": 8})
    with pytest.warns(UserWarning, match="now they cannot be read with its settings"):
        evaluated = ncfm.evaluate("run", settings={"data.image_size": 8}, changed_data=True)
    assert len(evaluated.accuracies) == 2


def test_images_in_memory(digits):
    """A set records the name of an `ImageSet`; under the same name other images are a change, under another not."""
    images = few(digits)
    made = ncfm.distill(images, ipc=1, recipe="none", settings=SETTINGS).synthetic
    fewer = few(digits, 7)
    with pytest.raises(InputError, match=r"few digits .*80 images, .* now 70 images"):
        ncfm.evaluate(made, fewer)
    with pytest.warns(UserWarning, match="The set was made from few digits, .* those of subset"):
        ncfm.evaluate(made, ImageSet("subset", fewer.train, fewer.test, fewer.class_names))


# --- runs ---------------------------------------------------------------------------------------------------


def distil_command(*more):
    return ["distill", "photos", "--ipc", "1", "--recipe", "none", "--out", "run", *FLAGS, "--resume", *more]


def test_a_run_records_its_data_when_it_begins(place):
    recorded = json.loads((place / "run" / "config.json").read_text())["data_fingerprint"]
    assert recorded == build_data("photos", make_config()).fingerprint
    assert recorded == ncfm.load("run").facts["data_fingerprint"] == fingerprint_of_run(place / "run")


def test_a_run_is_resumed_with_unchanged_data(ncfm_, place):
    before = (place / "run" / "config.json").read_text()
    done = ncfm_(*distil_command())
    assert done.code == 0, done.err
    assert (place / "run" / "config.json").read_text() == before


@pytest.mark.parametrize("change", [move, lambda place: add(place, held_out=False)], ids=["moved", "added"])
@pytest.mark.parametrize("finished", [True, False])
def test_a_run_is_not_resumed_with_changed_data(ncfm_, place, change, finished):
    if not finished:
        shutil.rmtree(place / "run" / "synthetic")
    stored = {file: file.read_bytes() for file in (place / "run").rglob("*") if file.is_file()}
    change(place)
    refused = ncfm_(*distil_command())
    assert refused.code == 2
    told = " ".join(refused.err.split())
    assert "run holds a run on other training images than photos has now" in told
    assert "(--out)" in told
    assert {file: file.read_bytes() for file in (place / "run").rglob("*") if file.is_file()} == stored


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_of_an_earlier_version_keeps_what_it_records(ncfm_, place, finished):
    """Its configuration has no fingerprint; its set has one if it is finished."""
    config = place / "run" / "config.json"
    stored = json.loads(config.read_text())
    recorded = stored.pop("data_fingerprint")
    config.write_text(json.dumps(stored))
    if finished:
        move(place)
        assert "holds a run on other training images" in " ".join(ncfm_(*distil_command()).err.split())
        assert fingerprint_of_run(place / "run") == recorded
        return
    shutil.rmtree(place / "run" / "synthetic")
    done = ncfm_(*distil_command())
    assert done.code == 0, done.err
    assert fingerprint_of_run(place / "run") is None  # not that of today, which may be another
    assert "data_fingerprint" not in ncfm.load("run").facts


def test_a_comparison_does_not_mix_data(ncfm_, place):
    command = ["compare", "photos", "--ipc", "1", "--recipe", "none", "--methods", "ncfm", "--out", "all", *FLAGS]
    assert ncfm_(*command).code == 0
    assert ncfm_(*command).code == 0  # again, with the set that the folder has
    move(place)
    refused = ncfm_(*command)
    assert refused.code == 2
    assert "holds a run on other training images than photos has now" in " ".join(refused.err.split())
