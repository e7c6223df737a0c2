"""Settings that follow from the data, rule by rule."""

from __future__ import annotations

import pytest
import torch

from ncfm.config import data_defaults as rules
from ncfm.config.build import build_teacher_recipe
from ncfm.config.resolve import resolve_config
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.training.pilot import Pilot

DEFAULT = RunConfig()


def shaped(classes=10, per_class=100, size=32, channels=3, names=None):
    """Black images of a shape."""
    pixels = torch.zeros(1, channels, size, size, dtype=torch.uint8).expand(classes * per_class, -1, -1, -1)
    split = ImageSplit.of(pixels, torch.arange(classes).repeat_interleave(per_class), classes)
    return ImageSet("shaped", split, split, tuple(names or (f"class {i}" for i in range(classes))))


def settings(choices):
    return {key: value for choice in choices for key, value in choice.settings.items()}


@pytest.mark.parametrize(
    ("size", "per_class", "ipc", "factor", "why"),
    [
        (32, 100, 1, 2, "tiles of 16 px"),
        (24, 100, 1, 2, "tiles of 12 px"),
        (23, 100, 1, 1, "tiles of 11 px would show too little"),
        (8, 100, 1, 1, "tiles of 4 px would show too little"),
        (32, 39, 10, 1, "a class has only 39 images"),
        (32, 40, 10, 2, "tiles of 16 px"),
    ],
)
def test_the_factor_leaves_tiles_that_show_something(size, per_class, ipc, factor, why):
    (choice,) = rules.choose_factor(shaped(size=size, per_class=per_class), ipc, set())
    assert choice.settings == {"distill.factor": factor}
    assert choice.why.startswith(why)


@pytest.mark.parametrize(
    ("classes", "size", "per_class", "batch"),
    [(10, 32, 5000, 64), (100, 32, 500, 40), (200, 64, 500, 16), (10, 128, 900, 25), (10, 8, 20, 20)],
)
def test_the_real_batch_follows_classes_and_size(classes, size, per_class, batch):
    shape = torch.Size((classes * per_class, 3, size, size))
    split = ImageSplit.of(
        torch.zeros(1, dtype=torch.uint8).expand(shape), torch.arange(classes).repeat_interleave(per_class), classes
    )
    images = ImageSet("shaped", split, None, tuple(map(str, range(classes))))
    assert settings(rules.choose_batch(images, set())) == {"distill.real_batch_per_class": batch}


@pytest.mark.parametrize(
    ("classes", "size", "ipc", "iterations"), [(10, 32, 1, 1000), (10, 32, 50, 780), (2, 250, 1, 300)]
)
def test_iterations_become_fewer_where_one_is_expensive(classes, size, ipc, iterations):
    images = shaped(classes=classes, size=size, per_class=2)
    assert settings(rules.choose_iterations(images, DEFAULT, ipc, set())) == {"distill.iterations": iterations}


def test_what_the_user_gives_is_left_out():
    images = shaped(size=8)
    given = {"distill.factor", "distill.real_batch_per_class", "distill.iterations", *rules.AUGMENTS}
    given |= {"teachers.network", "evaluate.network", "teachers.epochs"}
    assert rules.choose_factor(images, 1, given) == []
    assert rules.choose_batch(images, given) == []
    assert rules.choose_iterations(images, DEFAULT, 1, given) == []
    assert rules.choose_mirroring(images, DEFAULT, given, None) == []
    assert rules.choose_network(images, DEFAULT, given) == []
    assert rules.choose_epochs(images, build_teacher_recipe(DEFAULT), given, None) == []
    partly = rules.choose_network(images, DEFAULT, {"evaluate.network"})
    assert settings(partly) == {"teachers.network": "convnet2"}


@pytest.mark.parametrize(("size", "chosen"), [(4, False), (8, True), (15, True), (16, False)])
def test_one_block_is_too_few(size, chosen):
    expected = {"teachers.network": "convnet2", "evaluate.network": "convnet2"} if chosen else {}
    assert settings(rules.choose_network(shaped(size=size), DEFAULT, set())) == expected


def test_a_network_of_the_user_stays():
    own = resolve_config("x", 1, "none", {"teachers.network": "mlp"}, None)
    assert settings(rules.choose_network(shaped(size=8), own, {"teachers.network"})) == {"evaluate.network": "convnet2"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a", "b", "c"], True),
        (["A", "Ä", "ж"], True),
        (["3", "7"], True),
        (["zero", "one"], True),
        (["digit 0", "digit 1"], True),
        (["letter_a", "letter_b"], True),
        (["0", "1", "2"], False),  # the numbers that stand in for names
        (["cat", "dog"], False),
        (["a", "dog"], False),
        (["class 1", "class 2"], False),
        (["person one", "person two"], False),
        (["", "a"], False),
        (["_", "a"], False),
    ],
)
def test_characters_by_their_names(names, expected):
    assert rules.named_as_characters(names) is expected


PILOT = Pilot((4, 8), (0.8, 0.9), 0.88, 500, 20, 10)
TURNED = Pilot((4, 8), (0.8, 0.9), 0.4, 500, 260, 10)
OFF = {
    "teachers.augment": "crop",
    "distill.augment": "color_crop_cutout_scale_rotate",
    "evaluate.augment": "color_crop_scale_rotate",
}


@pytest.mark.parametrize(
    ("images", "pilot", "off", "why"),
    [
        (shaped(names=list("abcdefghij")), PILOT, True, "named by characters (a, b, c, ...)"),
        (shaped(), PILOT, False, "images are mirrored: a network trained without recognises 90.0% of 500 held-out"),
        (shaped(), TURNED, True, "90.0% of 500 held-out images, 40.0% mirrored"),
        (shaped(names=map(str, range(10))), PILOT, False, "88.0% mirrored"),
        (shaped(names=map(str, range(10)), channels=1), None, True, "may be digits"),
        (shaped(names=map(str, range(10))), None, False, "if left and right matter"),
        (shaped(channels=1), None, False, "if left and right matter"),
    ],
)
def test_mirroring(images, pilot, off, why):
    (choice,) = rules.choose_mirroring(images, DEFAULT, set(), pilot)
    assert why in choice.why
    if off:
        assert choice.settings == OFF
    else:
        assert "flip" in choice.settings["teachers.augment"]
        assert "flip" in choice.settings["distill.augment"]
        assert "evaluate.augment" not in choice.settings  # the protocol's, whose name it would change


def test_the_protocol_of_the_user_is_mirrored_or_not():
    dsa = resolve_config("x", 1, "none", {"evaluate.protocol": "dsa-2021"}, None)
    (choice,) = rules.choose_mirroring(shaped(), dsa, set(), TURNED)
    assert choice.settings["evaluate.augment"] == "dsa:color|crop|cutout|scale|rotate"


def test_teachers_train_as_long_as_the_pilot_needed():
    recipe = build_teacher_recipe(DEFAULT)
    (rose,) = rules.choose_epochs(shaped(), recipe, set(), PILOT)
    assert rose.settings == {"teachers.epochs": 8}
    assert "on 500 images held out of the training split, after epochs 4: 80.0%, 8: 90.0%" in rose.why
    flat = Pilot((4, 8), (0.9, 0.905), 0.9, 500, 1, 1)
    assert settings(rules.choose_epochs(shaped(), recipe, set(), flat)) == {"teachers.epochs": 4}
    good = Pilot((4, 8), (0.965, 0.97), 0.9, 500, 1, 1)
    assert settings(rules.choose_epochs(shaped(), recipe, set(), good)) == {"teachers.epochs": 8}
    # 1,000 images: 15 steps of 64 an epoch; 10 epochs are 150 steps, and 80 the most.
    assert settings(rules.choose_epochs(shaped(), recipe, set(), None)) == {"teachers.epochs": 80}


def test_small_data_have_small_batches():
    assert settings(rules.choose_teacher_batch(shaped(per_class=20), DEFAULT, set())) == {"teachers.batch_size": 20}
    assert settings(rules.choose_teacher_batch(shaped(per_class=2), DEFAULT, set())) == {"teachers.batch_size": 8}
    assert rules.choose_teacher_batch(shaped(per_class=64), DEFAULT, set()) == []
