"""The settings: their ranges, settings of another choice, and that nothing changes them."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import BaseModel, ValidationError

from ncfm._utils.checks import NcfmError
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.schema import RunConfig


@pytest.mark.parametrize(
    "setting",
    [
        {"distill.image_lr": 0},
        {"distill.image_lr": float("nan")},
        {"distill.matching_weight": float("inf")},
        {"distill.matching_weight": -1.0},
        {"distill.descent_steps": 0},
        {"frequencies.spread": 1.0},
        {"frequencies.family": "cauchy"},
        {"data.validation": 1.0},
        {"data.channels": 0},
        {"data.fit": "squash"},
        {"teachers.number": 0},
        {"teachers.cutmix": 1.1},
        {"evaluate.runs": 0},
        {"machine.precision": "float64"},
        {"seed": -1},
        {"seed": 1.5},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(setting):
    (key,) = setting
    with pytest.raises(NcfmError, match=key.replace(".", r"\.")):
        make_config(nest(setting))


def test_configurations_are_frozen():
    config = RunConfig()
    for target in (config, *(v for _, v in config if isinstance(v, BaseModel))):
        name = next(iter(type(target).model_fields))
        with pytest.raises(ValidationError, match="frozen"):
            setattr(target, name, None)
    for section in (config.distill, config.trajectory):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(section, dataclasses.fields(section)[0].name, None)


def test_the_defaults_share_nothing_that_changes():
    assert make_config({"distill": {"iterations": 3}}) != RunConfig()
    assert RunConfig().distill.iterations == 1000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"teachers.last_epoch": 9, "teachers.extractor": "checkpoint"},
            r"must be at most teachers\.epochs=4, got 9",
        ),
        ({"teachers.blend_high": 0.5, "teachers.extractor": "trained"}, "is for teachers.extractor=blended"),
        ({"teachers.pool": "x", "teachers.extractor": "checkpoint"}, "teachers.pool has its start and its end only"),
        ({"distill.image_weight_decay": 0.1}, "is for distill.image_optimizer=adamw"),
        ({"distill.num_clusters": 5}, "is for distill.real_batches=clustered"),
    ],
)
def test_settings_of_another_choice_are_refused(settings, message):
    with pytest.raises(NcfmError, match=message):
        make_config(nest(settings))
