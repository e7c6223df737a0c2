"""Recipes: every packaged one is valid, one extends another, and what is wrong is told."""

from __future__ import annotations

import importlib.resources

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.config import build
from ncfm.config import distribution_matching as config_matching
from ncfm.config.layers import make_config
from ncfm.config.recipes import read_recipe, recipe_names, recipe_path


def packaged():
    """Every .toml file of the package, at any depth, found without the code under test."""
    todo, found = [importlib.resources.files("ncfm")], []
    while todo:
        for entry in todo.pop().iterdir():
            if entry.is_dir() and entry.name != "ablations":  # tests/test_comparison.py has those
                todo.append(entry)
            elif entry.name.endswith(".toml"):
                found.append(entry)
    return found


def test_every_packaged_recipe_is_found():
    files = packaged()
    assert len(files) >= 1
    assert sorted(f.name.removesuffix(".toml") for f in files) == list(recipe_names())
    assert len(set(recipe_names())) == len(files)


def test_every_packaged_recipe_is_valid():
    checked = [make_config(read_recipe(name)) for name in recipe_names()]
    assert len(checked) == len(packaged())
    for config in checked:
        build.build_protocol(config)  # names that only the builders know
        config_matching.build_objective(config, num_features=8, num_classes=10)


def test_every_packaged_recipe_begins_with_its_title():
    for file in packaged():
        assert file.read_text(encoding="utf-8").startswith("# ")


def test_the_recipe_of_dance_is_that_of_its_authors():
    # Hansong-Zhang/DANCE; the files stand next to the settings.
    config = make_config(read_recipe("cifar10-ipc10-dance"))
    d, t = config.distill, config.teachers
    assert (d.iterations, d.real_batch_per_class, d.augment, d.init) == (10000, 128, "dsa:color_crop_cutout", "first")
    assert (d.image_optimizer, d.image_lr, d.image_momentum, d.image_schedule) == ("sgd", 0.1, 0.5, "constant")
    assert (d.calibration_step, d.calibration_reduction, d.normalize_features) == ("separate", "sum", False)
    assert (t.number, t.epochs, t.optimizer, t.lr, t.batch_size) == (5, 60, "heavy-ball", 0.01, 64)
    assert (config.objective.name, config.evaluate.protocol, config.data.deviation) == ("mean", "dance-2024", "images")


def test_a_recipe_extends_another(tmp_path):
    (tmp_path / "base.toml").write_text(
        'extends = "paper"\nseed = 3\n[distill]\nfactor = 1\n[evaluate]\nprotocol = "brief"\nruns = 7\n'
    )
    inner = tmp_path / "rows"
    inner.mkdir()
    (inner / "mine.toml").write_text('extends = "../base.toml"\n[distill]\nimage_lr = 0.5\n')
    config = make_config(read_recipe(str(inner / "mine.toml")))
    assert config.distill.image_lr == 0.5  # its own
    assert (config.seed, config.distill.factor, config.evaluate.runs) == (3, 1, 7)  # of what it extends
    assert (config.teachers.number, config.distill.iterations) == (20, 20000)  # of what that extends
    (inner / "other.toml").write_text('extends = "../base.toml"\n[evaluate]\nprotocol = "quick"\n')
    assert make_config(read_recipe(str(inner / "other.toml"))).evaluate.runs is None  # a protocol begins anew


def test_recipes_that_extend_each_other_are_told(tmp_path):
    for name, other in (("a", "b"), ("b", "a")):
        (tmp_path / f"{name}.toml").write_text(f'extends = "{other}.toml"\n')
    with pytest.raises(NcfmError, match=r"a\.toml extends itself, by way of a\.toml, b\.toml"):
        read_recipe(str(tmp_path / "a.toml"))


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("3", r'expected extends = "NAME"'),
        ('"papre"', r"Unknown recipe 'papre'. Did you mean 'paper"),
        ('"gone.toml"', "Expected a recipe file"),
    ],
)
def test_what_cannot_be_extended_is_told(tmp_path, base, message):
    (tmp_path / "mine.toml").write_text(f"extends = {base}\n")
    with pytest.raises(NcfmError, match=message):
        read_recipe(str(tmp_path / "mine.toml"))


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(NcfmError, match=r"Unknown recipe 'digits-ipc'. Did you mean 'digits-ipc1\d*'.*\.toml"):
        recipe_path("digits-ipc")


def test_a_missing_recipe_file_is_told(tmp_path):
    with pytest.raises(NcfmError, match="Expected a recipe file"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("content", [b"distill = [", b"\xff\xfe\x00", b"a = 1\na = 2"])
def test_a_recipe_that_is_not_toml_is_told(tmp_path, content):
    (tmp_path / "mine.toml").write_bytes(content)
    with pytest.raises(NcfmError, match=r"Could not read the recipe .*mine\.toml"):
        read_recipe(str(tmp_path / "mine.toml"))
