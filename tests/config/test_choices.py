"""Recipes that are chosen where the user names none."""

from __future__ import annotations

import pytest

from ncfm.config.choices import Choice, chosen_settings, nearest_recipe, read_choices, recipe_choice
from ncfm.config.resolve import fitting_recipe, resolve_config


@pytest.mark.parametrize(
    ("data", "ipc", "expected"),
    [
        ("digits", 10, "digits-ipc1"),
        ("cifar10", 2, "cifar10-ipc1"),
        ("cifar10", 5, "cifar10-ipc10"),
        ("cifar10", 20, "cifar10-ipc10"),
        ("cifar10", 30, "cifar10-ipc50"),
        ("cifar10", 500, "cifar10-ipc50"),
        ("cifar10", "proportional:40", "cifar10-ipc50"),
        ("cifar10", (1, 5), "cifar10-ipc1"),  # unequal: as without a number
        ("cifar10", None, "cifar10-ipc1"),
        ("cifar", 1, None),  # no part of a name
        ("my.photos", 1, None),
    ],
)
def test_the_nearest_recipe_is_of_the_same_data(data, ipc, expected):
    assert nearest_recipe(data, ipc) == expected


def test_a_recipe_of_its_own_is_no_choice():
    assert recipe_choice("digits", 1, fitting_recipe("digits", 1)) == ()
    (choice,) = recipe_choice("digits", 10, fitting_recipe("digits", 10))
    assert dict(choice.settings) == {"recipe": "digits-ipc1"}
    assert "the nearest recipe of digits, which has none for IPC 10" in str(choice)


def test_choices_lie_between_the_defaults_and_the_user():
    choices = (
        Choice({"recipe": "digits-ipc1"}, "near"),
        Choice({"distill.iterations": 70, "distill.factor": 2}, "why"),
    )
    config = resolve_config("digits", 10, None, {"distill.factor": 3}, 5, choices)
    assert config.teachers.network == "convnet2"  # of the recipe
    assert (config.distill.iterations, config.distill.factor, config.seed) == (70, 3, 5)
    assert resolve_config("digits", 10, None, None, None) == resolve_config("digits", 10, "none", None, None)


def test_choices_are_read_as_they_were_written():
    choices = (Choice({"distill.factor": 1}, "tiles of 4 px"), Choice({"teachers.epochs": 8}, "b"))
    assert read_choices([choice.as_dict() for choice in choices]) == choices
    assert chosen_settings(choices) == {"distill.factor": 1, "teachers.epochs": 8}
    for hostile in (
        {"objective.name": "evil:make"},
        {"teachers.network": "evil:make"},
        {"evaluate.network": 3},
        {"recipe": "evil.toml"},
        {"distill.factor": 1, "distill.extend": "theirs"},
    ):
        assert read_choices([{"settings": hostile, "why": "because"}]) == ()
    for damaged in (None, "text", 3, [1], [{"why": "x"}], [{"settings": 3}]):
        assert read_choices(damaged) == ()
