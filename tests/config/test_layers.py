"""Layers of settings: who wins over whom, and every mistake at once."""

from __future__ import annotations

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.config.keys import known_keys, nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import resolve_config
from ncfm.config.schema import RunConfig
from tiny import SETTINGS


def write(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_command_over_recipe_over_default(tmp_path):
    recipe = write(tmp_path, "seed = 5\n[distill]\niterations = 7\nfactor = 1\n")
    config = resolve_config("digits", 1, recipe, {"distill.iterations": 9}, None)
    default = RunConfig()
    assert config.distill.iterations == 9  # command line
    assert config.distill.factor == 1  # recipe
    assert config.distill.image_lr == default.distill.image_lr
    assert config.seed == 5
    assert resolve_config("digits", 1, recipe, {"seed": 6}, None).seed == 6
    assert resolve_config("digits", 1, recipe, {"seed": 6}, 7).seed == 7  # --seed over --set seed
    assert resolve_config("digits", 1, recipe, None, 0).seed == 0


def test_none_is_the_defaults():
    assert resolve_config("digits", 1, "none", None, None) == RunConfig()
    assert resolve_config("no such data", 17, None, None, None) == RunConfig()  # no recipe fits


def test_layers_merge_key_by_key():
    first = {"distill": {"factor": 1, "iterations": 5}, "seed": 1}
    config = make_config(first, {"distill": {"iterations": 6}}, {})
    assert (config.distill.factor, config.distill.iterations, config.seed) == (1, 6, 1)
    assert first == {"distill": {"factor": 1, "iterations": 5}, "seed": 1}  # layers are left as they were


def test_a_configuration_written_and_read_is_itself():
    config = make_config(nest(SETTINGS))
    assert make_config(config.model_dump()) == config
    assert RunConfig.model_validate_json(config.model_dump_json()) == config


def test_an_unknown_key_of_a_recipe_names_the_nearest():
    with pytest.raises(NcfmError, match=r"unknown key 'distill\.itertions'\. Did you mean 'distill\.iterations'"):
        make_config({"distill": {"itertions": 3}})


def test_an_unknown_section_is_refused():
    with pytest.raises(NcfmError, match="unknown key 'distil'"):
        make_config({"distil": {"iterations": 3}})


@pytest.mark.parametrize(
    ("key", "guess"),
    [("distill.itertions", "distill.iterations"), ("iteration", "distill.iterations"), ("sed", "seed")],
)
def test_an_unknown_setting_names_the_nearest(key, guess):
    with pytest.raises(NcfmError, match=rf"unknown key '{key}'\. Did you mean '{guess}'.*ncfm recipes keys"):
        make_config(nest({key: 1}))


@pytest.mark.parametrize("key", ["lr", "runs"])
def test_the_guess_is_a_setting(key):
    with pytest.raises(NcfmError) as error:
        make_config(nest({key: 1}))
    assert str(error.value).split("Did you mean '")[1].split("'")[0] in known_keys()


def test_a_section_is_no_setting():
    with pytest.raises(NcfmError, match=r"distill: .*got 3"):
        make_config(nest({"distill": 3}))


def test_every_mistake_is_told_at_once():
    wrong = {
        "distill": {"itertions": 3, "factor": 0, "mode": "triple"},
        "objective": {"amplitude_weight": 1.5},
        "teachers": {"epochs": "many"},
        "sed": 1,
    }
    with pytest.raises(NcfmError) as error:
        make_config(wrong)
    text = str(error.value)
    assert len(text.splitlines()) == 7
    for part in (
        "'distill.itertions'",
        "distill.factor: input should be greater than or equal to 1, got 0",
        "distill.mode: input should be 'single', 'multi' or 'bounded', got 'triple'",
        "objective.amplitude_weight",
        "teachers.epochs",
        "'sed'",
    ):
        assert part in text


def test_a_layer_that_names_a_protocol_starts_from_it():
    recipe = {"evaluate": {"protocol": "quick", "epochs": 300, "runs": 5, "augment": "crop"}}
    named = make_config(recipe, {"evaluate": {"protocol": "brief", "looks": 2}}).evaluate
    assert (named.protocol, named.epochs, named.runs, named.looks) == ("brief", None, None, 2)
    assert named.augment == "crop"  # of the data, not of the protocol
    kept = make_config(recipe, {"evaluate": {"runs": 2}}).evaluate
    assert (kept.protocol, kept.epochs, kept.runs) == ("quick", 300, 2)
    assert make_config(recipe, {"evaluate": {"protocol": "brief", "epochs": 7}}).evaluate.epochs == 7
