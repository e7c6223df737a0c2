"""The configuration of a command line, and the data that a set records, used from another folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.config.resolve import data_folder, data_of_set, resolve_config, variant_of


def test_a_relative_path_is_recorded_with_its_folder(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    assert data_folder("photos") == {"data_folder": str(tmp_path)}
    monkeypatch.setattr(Path, "home", lambda: tmp_path.parent)
    assert data_folder("photos") == {"data_folder": f"~/{tmp_path.name}"}
    for other in ("digits", "hf:owner/photos", str(tmp_path / "photos"), "~/photos", "arrays"):
        assert data_folder(other) == {}


def test_a_relative_path_is_found_only_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "here" / "photos").mkdir(parents=True)
    facts = {"data": "photos", "data_folder": "~/here"}
    monkeypatch.chdir(tmp_path / "here")
    assert data_of_set(facts, None) == "photos"
    monkeypatch.chdir(tmp_path)
    assert data_of_set(facts, "here/photos") == "here/photos"
    with pytest.raises(NcfmError, match=r"path relative to ~/here, .* name the data: --on ~/here/photos"):
        data_of_set(facts, None)
    assert data_of_set({"data": "photos"}, None) == "photos"  # of an earlier version: loading it says more
    assert data_of_set({"data": "digits"}, None) == "digits"


def test_the_fitting_recipe_is_taken(tmp_path, monkeypatch, digits):
    monkeypatch.setattr("ncfm.config.recipes.RECIPES", tmp_path)
    (tmp_path / "digits-ipc3.toml").write_text("seed = 11", encoding="utf-8")
    assert resolve_config("digits", 3, None, None, None).seed == 11
    assert resolve_config(digits, 3, None, None, None).seed == 11
    assert resolve_config("digits", 4, None, None, None).seed == 0
    assert resolve_config("digits", 3, "none", None, None).seed == 0


def test_every_mistake_of_the_command_line_is_told_at_once():
    with pytest.raises(NcfmError) as error:
        resolve_config("digits", 1, "none", {"distill.itertions": 3, "distill.fctor": 1, "distill.bound": 0}, None)
    assert all(key in str(error.value) for key in ("itertions", "fctor", "bound"))


@pytest.mark.parametrize(
    ("changes", "variant"),
    [
        ({"data.image_size": 16, "data.channels": 1}, "data.image_size=16,data.channels=1"),
        ({"data.test_fraction": 0.5}, "data.test_fraction=0.5"),
        ({"data.label_column": "fine"}, "data.label_column=fine"),
        ({"data.validation": 0.1}, ""),  # in the name of the data
        ({"evaluate.runs": 9, "machine.threads": 1, "seed": 3}, ""),
    ],
)
def test_a_variant_names_how_the_data_are_read(changes, variant):
    assert variant_of("digits", 5, resolve_config("digits", 5, None, changes, None)) == variant
