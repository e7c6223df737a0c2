"""Dotted names of settings, and settings as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import NcfmError
from ncfm.config import build
from ncfm.config.keys import describe_keys, known_keys, nest, parse_setting
from ncfm.config.layers import make_config
from ncfm.config.schema import RunConfig


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("distill.factor=1", ("distill.factor", 1)),
        ("distill.image_lr=1e-3", ("distill.image_lr", 0.001)),
        ("distill.image_lr = 0.5", ("distill.image_lr", 0.5)),
        ("objective.corrected=true", ("objective.corrected", True)),
        ("distill.mode=multi", ("distill.mode", "multi")),
        ('distill.mode="multi"', ("distill.mode", "multi")),
        ("distill.augment=color_crop", ("distill.augment", "color_crop")),
        ("machine.device=cuda:1", ("machine.device", "cuda:1")),
        ("distill.early_stop_patience=none", ("distill.early_stop_patience", None)),
        ("data.image_size=None", ("data.image_size", None)),
        ("a=b=c", ("a", "b=c")),
        ("a=", ("a", "")),
    ],
)
def test_settings_are_read_with_their_types(text, expected):
    key, value = parse_setting(text)
    assert (key, value) == expected
    assert type(value) is type(expected[1])


def test_a_setting_without_equals_is_told():
    with pytest.raises(NcfmError, match=r"Expected --set key=value, got 'distill.factor'; for example"):
        parse_setting("distill.factor")


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans())
def test_numbers_survive_their_text(value):
    assert parse_setting(f"k={str(value).lower()}") == ("k", value)


@pytest.mark.parametrize("key", ["distill.augment", "teachers.augment"])
def test_no_augmentation_can_be_asked_for(key):
    section, name = key.split(".")
    config = make_config(nest(dict([parse_setting(f"{key}=none")])))
    assert getattr(getattr(config, section), name) == "none"


def test_students_without_augmentation_can_be_asked_for():
    config = make_config(nest(dict([parse_setting("evaluate.augment=none")])))
    assert build.build_protocol(config).recipe.augment == "none"


def test_every_key_is_listed_once_and_can_be_set():
    keys = known_keys()
    assert len(keys) == len(set(keys))
    assert {"distill.iterations", "frequencies.family", "seed"} <= set(keys)
    default = RunConfig().model_dump()
    for key in keys:
        *sections, last = key.split(".")
        value = default[sections[0]][last] if sections else default[last]
        assert make_config(nest({key: value})) == RunConfig()
    assert len(keys) == 1 + sum(len(section) for section in default.values() if isinstance(section, dict))


def test_keys_are_listed_with_their_defaults():
    told = dict(describe_keys())
    assert told["distill.factor"].startswith("2  A stored image")
    assert told["seed"] == "0"
