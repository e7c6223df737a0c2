"""The students of two sets: alike but for the set."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import InputError
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.workflows.paired import paired_students
from sets import synthetic


def recording(**settings):
    named = {key.replace("__", "."): value for key, value in settings.items()}
    return synthetic(facts={"config": make_config(nest(named)).model_dump(mode="json")})


def test_sets_of_one_seed_and_protocol_keep_what_they_record():
    sets = {"a": recording(seed=3, evaluate__epochs=5), "b": recording(seed=3, evaluate__epochs=5)}
    assert paired_students(sets, {}, None) == {place: {"settings": {}, "seed": 3} for place in sets}


def test_students_of_sets_of_other_seeds_have_that_of_the_first():
    sets = {"a": recording(seed=3), "b": recording(seed=4)}
    with pytest.warns(UserWarning, match="students of all sets have the seed 3, which a records"):
        found = paired_students(sets, {}, None)
    assert {place: one["seed"] for place, one in found.items()} == {"a": 3, "b": 3}
    assert paired_students(sets, {}, 7)["b"] == {"settings": {}, "seed": 7}  # the user's, without a word


def test_an_external_set_has_the_students_of_the_other():
    own = recording(seed=3, evaluate__epochs=5, evaluate__augment="crop", evaluate__labels="soft")
    found = paired_students({"theirs.npz": "theirs.npz", "a": own}, {"evaluate.runs": 4}, None)
    assert found["a"] == {"settings": {"evaluate.runs": 4}, "seed": 3}
    assert found["theirs.npz"]["seed"] == 3
    assert found["theirs.npz"]["settings"] == {
        "evaluate.protocol": "quick",
        "evaluate.network": "convnet",
        "evaluate.runs": 4,
        "evaluate.epochs": 5,
        "evaluate.augment": "crop",
    }


def test_a_protocol_that_the_user_names_is_that_of_both():
    sets = {"a": recording(evaluate__epochs=5, evaluate__augment="crop"), "theirs.npz": "theirs.npz"}
    found = paired_students(sets, {"evaluate.protocol": "dsa-2021"}, None)
    assert found["theirs.npz"]["settings"] == {
        "evaluate.protocol": "dsa-2021",  # with its own epochs
        "evaluate.network": "convnet",
        "evaluate.augment": "crop",
    }


def test_two_external_sets_have_what_the_user_says():
    sets = {"a.npz": "a.npz", "b.npz": "b.npz"}
    found = paired_students(sets, {"evaluate.runs": 4}, None)
    assert found == {place: {"settings": {"evaluate.runs": 4}, "seed": None} for place in sets}


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"evaluate__epochs": 7}, r"quick, convnet, 3 students\) and b \(quick@epochs=7, convnet, 3 students"),
        ({"evaluate__network": "mlp"}, r"quick, convnet, 3 students\) and b \(quick, mlp, 3 students"),
        ({"evaluate__runs": 5}, r"and b \(quick, convnet, 5 students\) differ by more than the set"),
    ],
)
def test_sets_that_record_other_students_are_refused_unless_the_user_names_one_kind(other, told):
    sets = {"a": recording(), "b": recording(**other)}
    with pytest.raises(InputError, match=told):
        paired_students(sets, {}, None)
    named = {"evaluate.epochs": 2, "evaluate.network": "mlp", "evaluate.runs": 4}
    assert paired_students(sets, named, None)["b"] == {"settings": named, "seed": 0}
