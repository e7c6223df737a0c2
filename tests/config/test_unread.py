"""What the user gives in vain is named, and nothing else."""

from __future__ import annotations

import pytest

from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.unread import unread_by_all, unread_settings


def unread(**settings):
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return unread_settings(make_config(nest(named)), named)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"distill__image_momentum": 0.9, "distill__image_optimizer": "sgd"},
        {"distill__plateau_patience": 5, "distill__image_schedule": "plateau"},
        {"objective__amplitude_weight": 0.2, "objective__gradient_rows": 8, "distill__adversary_lr": 0.1},
        {"frequencies__number": 8, "frequencies__scale": 2.0, "frequencies__spread": 2.0},
        {"frequencies__family": "student", "frequencies__degrees_of_freedom": 1},
        {"objective__name": "mmd", "objective__bandwidth_factors": (1.0,)},
        {"objective__name": "dsdm", "objective__history_decay": 0.5},
        {"objective__name": "entropic", "frequencies__family": "gaussian", "objective__num_directions": 3},
        {"objective__name": "mtt", "trajectory__experts": 3, "teachers__network": "mlp", "distill__image_lr": 0.1},
        {"objective__name": "datm", "labels__precision": "uint8", "trajectory__start_growth": 3},
        {"labels__kind": "soft", "labels__top_k": 3, "teachers__epochs": 9, "distill__calibration_step": "separate"},
        {"objective__name": "mean", "frequencies__criterion": "halves"},  # a warning says it
    ],
)
def test_settings_that_are_read_are_not_named(settings):
    assert unread(**settings) == {}


@pytest.mark.parametrize(
    ("settings", "key", "why"),
    [
        ({"distill__image_momentum": 0.9}, "distill.image_momentum", "distill.image_optimizer is adam"),
        ({"distill__bound": 64}, "distill.bound", "distill.mode is single"),
        ({"distill__iterations": 9, "distill__seconds": 3.0}, "distill.iterations", "distill.seconds is 3.0"),
        ({"labels__top_k": 3}, "labels.top_k", "labels.kind is hard"),
        ({"trajectory__experts": 3}, "trajectory.experts", "objective.name=ncfd matches no trajectories"),
        ({"objective__bandwidths": (1.0,)}, "objective.bandwidths", "the objective ncfd does not take it"),
        ({"objective__name": "mean", "frequencies__scale": 2.0}, "frequencies.scale", "the objective mean has none"),
        (
            {"frequencies__degrees_of_freedom": 1},
            "frequencies.degrees_of_freedom",
            "the sampler mixture does not take it",
        ),
        (
            {"frequencies__family": "direct", "frequencies__spread": 2.0},
            "frequencies.spread",
            "frequencies.fixed_bandwidth is true",
        ),
        (
            {"frequencies__family": "gaussian", "distill__ascent_steps": 3},
            "distill.ascent_steps",
            "nothing is learned but the images",
        ),
        (
            {"distill__calibration_weight": 0, "distill__calibration_step": "separate"},
            "distill.calibration_step",
            "distill.calibration_weight is 0",
        ),
        (
            {"teachers__extractor": "random", "distill__calibration_weight": 0, "teachers__epochs": 9},
            "teachers.epochs",
            "no teacher is trained",
        ),
        (
            {"objective__name": "mtt", "distill__matching_weight": 3.0},
            "distill.matching_weight",
            "objective.name=mtt does not read it",
        ),
        (
            {"objective__name": "mtt", "trajectory__label_lr": 0.1},
            "trajectory.label_lr",
            "it is for objective.name=datm",
        ),
        (
            {"objective__name": "datm", "distill__init": "noise"},
            "distill.init",
            "trajectory.correct_start is true",
        ),
        ({"objective__name": "datm", "labels__top_k": 2}, "labels.top_k", "labels.kind is hard"),
    ],
)
def test_a_setting_without_effect_is_named_with_the_reason(settings, key, why):
    assert unread(**settings) == {key: why}


def test_of_several_runs_only_what_none_of_them_reads_is_named():
    given = ["frequencies.scale", "distill.bound", "objective.bandwidths", "trajectory.experts"]
    runs = [make_config({"objective": {"name": name}}) for name in ("ncfd", "mean", "mtt")]
    assert unread_by_all(runs[:2], given) == [
        "distill.bound has no effect: distill.mode is single.",
        "objective.bandwidths has no effect: the objective ncfd does not take it; the objective mean does not take it.",
        "trajectory.experts has no effect: objective.name=ncfd matches no trajectories; objective.name=mean matches no "
        "trajectories.",
    ]
    assert [line.split()[0] for line in unread_by_all(runs, given)] == ["distill.bound", "objective.bandwidths"]
    assert unread_by_all([], given) == []
