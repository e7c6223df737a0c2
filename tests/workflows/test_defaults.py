"""Runs where the user gives no recipe: what is chosen, said, stored, and kept when the run is resumed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import ncfm
from ncfm._utils.files import read_json, write_json
from ncfm._utils.progress import Silent
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.training import pilot as pilots
from ncfm.training.pilot import Pilot
from ncfm.workflows.defaults import Asked
from tiny import SETTINGS, few

SHORT = SETTINGS | {"teachers.batch_size": 16}
SHOWN = Pilot((2, 4), (0.5, 0.8), 0.4, 200, 90, 5)


class Heard(Silent):
    """Keeps stages and remarks."""

    def __init__(self):
        self.stages, self.remarks = [], []

    def begin(self, stage, total, unit="step"):
        self.stages.append((stage, total, unit))

    def remark(self, text):
        self.remarks.append(text)


@pytest.fixture
def own(digits):
    """Digits under a name without recipes, whose classes have names of their own."""
    named = tuple(f"kind {i}x" for i in range(10))
    return replace(few(digits, 40), name="own digits", class_names=named)


@pytest.fixture
def pilot(monkeypatch):
    """A pilot that need not be trained."""
    asked = []
    monkeypatch.setattr(pilots, "train_pilot", lambda images, **options: asked.append(options) or SHOWN)
    return asked


def without(*keys):
    return {key: value for key, value in SHORT.items() if key not in keys}


def test_a_setting_without_effect_is_named(digits):
    heard = Heard()
    given = SETTINGS | {"distill.image_momentum": 0.9, "labels.top_k": 3}
    ncfm.distill(digits, ipc=1, settings=given, reporter=heard)
    assert heard.remarks == [
        "distill.image_momentum has no effect: distill.image_optimizer is adam.",
        "labels.top_k has no effect: labels.kind is hard.",
    ]


def test_the_nearest_recipe_is_used_and_named(digits):
    heard = Heard()
    made = ncfm.distill(digits, ipc=2, settings=SETTINGS, reporter=heard).synthetic
    config = made.facts["config"]
    assert config["distill"]["factor"] == 1  # of digits-ipc1
    assert config["distill"]["augment"] == "crop_scale_rotate"
    assert heard.remarks == [
        "digits: recipe=digits-ipc1: the nearest recipe of digits, which has none for IPC 2 "
        "(--recipe none: the plain defaults)"
    ]
    assert made.facts["choices"][0]["settings"] == {"recipe": "digits-ipc1"}


def test_a_recipe_of_its_own_and_none_choose_nothing(digits):
    for ipc, recipe in ((1, None), (2, "none"), (2, "digits-ipc1")):
        heard = Heard()
        made = ncfm.distill(digits, ipc=ipc, recipe=recipe, settings=SETTINGS, reporter=heard).synthetic
        assert heard.remarks == []
        assert "choices" not in made.facts


def test_settings_follow_the_data(own, pilot, tmp_path):
    heard = Heard()
    settings = without("teachers.network", "teachers.epochs", "evaluate.network")
    made = ncfm.distill(own, ipc=1, settings=settings, out=tmp_path / "run", reporter=heard).synthetic
    config = made.facts["config"]
    assert config["teachers"]["network"] == config["evaluate"]["network"] == "convnet2"
    assert config["teachers"]["epochs"] == 4
    assert config["teachers"]["augment"] == "crop"
    assert config["distill"]["augment"] == "color_crop_cutout_scale_rotate"
    assert config["evaluate"]["augment"] == "color_crop_scale_rotate"
    assert config["distill"]["factor"] == 1
    assert config["distill"]["real_batch_per_class"] == 4  # the user's
    assert heard.stages[0] == ("pilot", 64, "epoch")  # 8 + 8 + 16 + 32, of 340 images
    (asked,) = pilot
    assert asked["network"] == "convnet2"
    assert asked["recipe"].augment == "crop"
    assert [remark.split(":")[1].strip().split("=")[0] for remark in heard.remarks] == [
        *("teachers.network", "teachers.augment", "teachers.epochs", "distill.factor"),
    ]
    stored = read_json(tmp_path / "run" / "config.json")["choices"]
    assert stored == made.facts["choices"]
    assert "80.0% of 200 held-out images, 40.0% mirrored" in stored[1]["why"]


def test_the_pilot_is_not_trained_where_nothing_asks_for_it(own, pilot):
    for more in ({"teachers.epochs": 1}, {"objective.name": "mtt"}, {"teachers.extractor": "random"}):
        settings = without("teachers.epochs") | {"distill.calibration_weight": 0.0} | more
        Asked(own, 1, None, settings, None).prepare(None, None, Silent())
    assert pilot == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evaluate.network": "vit99"}, "a depth of 99"),
        ({"evaluate.network": "convnet9"}, "use depth 3 or less"),
        ({"distill.factor": 7}, "Expected at least 49 real images"),
        ({"objective.name": "own:nothing"}, "There is no module 'own'"),
    ],
)
def test_mistakes_are_told_before_a_pilot_is_trained(own, pilot, settings, message):
    with pytest.raises(ncfm.InputError, match=message):
        ncfm.distill(own, ipc=1, settings=without("teachers.epochs") | settings)
    with pytest.raises(ncfm.InputError, match=message):
        ncfm.compare(own, ipc=1, methods=["ncfm"], settings=without("teachers.epochs") | settings)
    assert pilot == []


def test_choices_of_pretrain_find_the_same_teachers(own, pilot, own_cache):
    settings = without("teachers.epochs", "evaluate.network")
    ncfm.pretrain(own, settings=settings)
    trained = sorted((own_cache / "teachers").iterdir())
    ncfm.distill(own, ipc=1, settings=settings)
    assert sorted((own_cache / "teachers").iterdir()) == trained
    assert len(pilot) == 1  # then from the cache


def test_a_resumed_run_keeps_its_choices(own, pilot, monkeypatch, tmp_path):
    settings = without("teachers.epochs") | {"distill.image_schedule": "constant"}
    first = ncfm.distill(own, ipc=1, settings=settings, out=tmp_path / "run").synthetic
    monkeypatch.setattr(pilots, "cached_pilot", lambda *a, **k: pytest.fail("a pilot was asked again"))
    longer = settings | {"distill.iterations": 4}
    resumed = ncfm.distill(own, ipc=1, settings=longer, out=tmp_path / "run", resume=True).synthetic
    assert resumed.facts["choices"] == first.facts["choices"]
    assert resumed.facts["config"]["teachers"] == first.facts["config"]["teachers"]


def test_a_run_of_an_earlier_version_is_resumed_with_its_settings(own, tmp_path):
    whole = ncfm.distill(own, ipc=1, recipe="none", settings=SETTINGS | {"distill.iterations": 4}).synthetic
    ncfm.distill(own, ipc=1, recipe="none", settings=SETTINGS | {"distill.iterations": 4}, out=tmp_path / "run")
    stored = read_json(tmp_path / "run" / "config.json")
    assert "choices" not in stored
    write_json(tmp_path / "run" / "config.json", stored)
    resumed = ncfm.distill(
        own, ipc=1, settings=SETTINGS | {"distill.iterations": 4}, out=tmp_path / "run", resume=True
    ).synthetic
    assert torch.equal(resumed.images, whole.images)


def test_a_comparison_chooses_once_for_all_methods(own, pilot, tmp_path):
    heard = Heard()
    arguments = {"ipc": 1, "methods": ["ncfm", "gaussian", "random"], "out": tmp_path / "all"}
    found = ncfm.compare(own, settings=without("teachers.epochs"), reporter=heard, **arguments)
    assert [one.method for one in found] == ["ncfm", "ncfm", "random"]
    assert len(pilot) == 1
    for name in ("ncfm", "gaussian"):
        stored = read_json(tmp_path / "all" / name / "config.json")["choices"]
        assert stored[0]["settings"]["teachers.augment"] == "crop"
    assert found[0].evaluation.protocol == "quick@epochs=2,augment=color_crop_scale_rotate"
    again = ncfm.compare(own, settings=without("teachers.epochs"), **arguments)
    assert [one.evaluation.accuracies for one in again] == [one.evaluation.accuracies for one in found]


def test_the_variant_of_a_row_names_what_was_chosen(own, pilot):
    made = ncfm.distill(own, ipc=1, settings=without("teachers.epochs")).synthetic
    variant = made.facts["variant"].split(",")
    assert "distill.factor=1" in variant
    assert "teachers.augment=crop" in variant


def test_a_large_share_is_warned_of(own):
    with pytest.warns(UserWarning, match=r"10 of 40 images per class are stored; real images chosen at random may"):
        Asked(own, 10, None, SETTINGS, None).prepare(None, None, Silent())


def test_chance_is_warned_of(own, monkeypatch):
    blind = Pilot((2, 4), (0.11, 0.1), 0.1, 200, 5, 5)
    monkeypatch.setattr(pilots, "train_pilot", lambda images, **options: blind)
    with pytest.warns(UserWarning, match=r"recognises 10.0% of held-out images, little above chance \(10.0%\)"):
        Asked(own, 1, None, without("teachers.epochs"), None).prepare(None, None, Silent())


def large(size=136):
    pixels = torch.zeros(8, 1, size, size, dtype=torch.uint8)
    split = ImageSplit.of(pixels, torch.arange(2).repeat_interleave(4), 2)
    return ImageSet("large", split, split, ("cat", "dog"))


@pytest.mark.parametrize(("settings", "told"), [({}, True), ({"data.image_size": 136}, False)])
def test_a_size_is_recommended_above_128_px(settings, told, recwarn):
    Asked(large(), 1, None, SETTINGS | settings, None).prepare((), None, Silent())
    messages = [str(one.message) for one in recwarn]
    assert any("Recommended: --set data.image_size=64, or 128 on a GPU" in text for text in messages) is told
    assert not any("Recommended" in text for text in ncfm.describe(large(128)).problems)
    assert any("images of 136 px; an iteration takes about 5 times" in text for text in ncfm.describe(large()).problems)
