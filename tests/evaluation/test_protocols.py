"""Protocols: those of papers constant by constant, and what a changed one is called."""

from __future__ import annotations

import dataclasses

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.evaluation import PROTOCOLS, get_protocol


def test_the_papers_protocol_is_the_papers():
    # gszfwsb/NCFM, condenser/evaluate.py: AdamW(lr=1e-3) has PyTorch's weight decay, and the loader drops no batch.
    p = get_protocol("ncfm-2025-v2")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (2000, "adamw", 1e-3, 128, "fifths")
    assert (r.augment, r.cutmix_probability, r.weight_decay) == ("dsa:color_flip_crop|scale|rotate", 0.5, 0.01)
    assert (r.keep_last, p.num_runs, p.looks) == (True, 10, 20)


def test_the_protocol_of_dsa_is_that_of_its_authors():
    # VICO-UoE/DatasetCondensation, evaluate_synset: one of six operations a batch, by ParamDiffAug's mode "S".
    p = get_protocol("dsa-2021")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (1000, "heavy-ball", 0.01, 256, "half")
    assert (r.momentum, r.weight_decay, r.cutmix_probability) == (0.9, 5e-4, 0.0)
    assert (r.augment, r.keep_last) == ("dsa:color|crop|cutout|flip|scale|rotate", True)


def test_the_protocol_of_dance_is_that_of_its_authors():
    # Hansong-Zhang/DANCE: arguments/arg_condense.py, train.py, misc/augment.py.
    p = get_protocol("dance-2024")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (1500, "heavy-ball", 0.01, 64, "step")
    assert (r.momentum, r.weight_decay, r.cutmix_probability) == (0.9, 5e-4, 0.5)
    assert (r.augment, r.keep_last, p.looks) == ("dsa:color_flip_crop|scale|rotate", True, 6)


def test_the_first_form_of_the_papers_protocol_stays():
    # Rows were made under it.
    p = get_protocol("ncfm-2025")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (2000, "adamw", 1e-3, 128, "fifths")
    assert (r.augment, r.cutmix_probability, r.weight_decay) == ("color_crop_flip_scale_rotate", 0.5, 5e-4)
    assert p.num_runs == 10


def test_the_brief_protocol_is_pinned():
    p = get_protocol("brief")
    r = p.recipe
    assert (r.epochs, r.optimizer, r.lr, r.batch_size, r.schedule) == (20, "adamw", 1e-3, 16, "one-cycle")
    assert (r.augment, r.cutmix_probability, r.weight_decay) == ("color_crop_flip_scale_rotate", 0.0, 5e-4)
    assert p.num_runs == 3


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_is_found_by_its_name(name):
    assert get_protocol(name) is not None
    assert get_protocol(name) == PROTOCOLS[name]
    assert get_protocol(name).name == name


def test_another_recipe_shows_in_the_name():
    quick = PROTOCOLS["quick"]
    assert get_protocol("quick", epochs=7).name == "quick@epochs=7"
    assert get_protocol("quick", epochs=7).recipe == dataclasses.replace(quick.recipe, epochs=7)
    both = get_protocol("quick", epochs=0, augment="crop")
    assert both.name == "quick@epochs=0,augment=crop"
    assert (both.recipe.epochs, both.recipe.augment) == (0, "crop")


def test_what_is_as_pinned_does_not_show_in_the_name():
    quick = PROTOCOLS["quick"]
    assert get_protocol("quick", epochs=quick.recipe.epochs, augment=quick.recipe.augment) == quick
    # More students or looks measure the same thing more finely.
    finer = get_protocol("quick", num_runs=7, looks=5)
    assert (finer.name, finer.num_runs, finer.looks) == ("quick", 7, 5)
    assert finer.recipe == quick.recipe


def test_an_unknown_protocol_names_the_nearest():
    with pytest.raises(NcfmError, match=r"Unknown protocol 'quik'. Did you mean 'quick'.*ncfm-2025"):
        get_protocol("quik")


@pytest.mark.parametrize("changes", [{"epochs": -1}, {"augment": "colour"}])
def test_impossible_changes_are_refused(changes):
    with pytest.raises(NcfmError):
        get_protocol("quick", **changes)
