"""Unequal images per class through every command: distil, resume, evaluate, compare, score, report, export."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import torch
from PIL import Image

import ncfm
from ncfm._utils.checks import InputError
from ncfm.baselines import select
from ncfm.config.resolve import resolve_config
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.formats.reading import read_external
from ncfm.results.files import read_rows
from ncfm.synthetic.counts import in_use
from strategies import rng
from tiny import SETTINGS, few

COUNTS = (3, 1, 2, 1, 1, 3, 2, 1, 1, 2)  # of the ten digits: 17 images
ONCE = SETTINGS | {"distill.factor": 1, "evaluate.runs": 1, "evaluate.epochs": 1}


@pytest.fixture(scope="module")
def images(digits):
    return few(digits, 12)


def distil(images, ipc=COUNTS, **options):
    settings = ONCE | options.pop("settings", {})
    return ncfm.distill(images, ipc=ipc, recipe="none", settings=settings, **options)


def test_a_whole_run(images, tmp_path):
    run = tmp_path / "run"
    settings = {"distill.factor": 2, "labels.kind": "soft"}
    result = distil(images, out=run, settings=settings)
    found = ncfm.load(run)
    assert found.counts == result.synthetic.counts == COUNTS
    used = in_use(COUNTS, 3)
    assert torch.equal(found.images, result.synthetic.images)
    assert (found.images[~used] == 0).all()
    assert (found.images[used] != result.start.images[used]).flatten(1).any(1).all()
    assert found.decoded().labels.bincount().tolist() == [4 * n for n in COUNTS]
    assert len(found.soft_labels) == 4 * 17
    assert found.facts["ipc"] == list(COUNTS)
    assert found.facts["variant"].endswith("ipc=3+1+2+1+1+3+2+1+1+2")
    assert ncfm.evaluate(run, on=images, settings=ONCE).num_images == 4 * 17
    page = ncfm.write_report(run, on=images).path.read_text()
    assert "1 of 3" in page
    assert "2 of 3" in page
    assert "Synthetic image of 1, 1 of 1" in page
    assert "Synthetic image of 1, 2" not in page

    for to, name in (("npz", "set.npz"), ("pt", "set.pt"), ("png", "png"), ("parquet", "set.parquet")):
        ncfm.export(run, tmp_path / name, to=to)
        again = read_external(tmp_path / name, images).images
        assert again.labels.bincount().tolist() == [4 * n for n in COUNTS], to
        torch.testing.assert_close(again.images, found.decoded().images, rtol=0, atol=1 / 509)
    ncfm.export(run, tmp_path / "copy", to="ncfm")
    assert torch.equal(ncfm.load(tmp_path / "copy").images, found.images)
    assert "1 to 3 stored per class" in (tmp_path / "copy" / "README.md").read_text()
    ncfm.export(run, tmp_path / "stored.npz", to="npz", stored=True, bits=32)
    with np.load(tmp_path / "stored.npz") as file:
        assert np.bincount(file["labels"]).tolist() == list(COUNTS)
        assert np.array_equal(file["images"], found.stored[:, 0].numpy())


def test_equal_counts_are_the_same_run(images):
    one, many = distil(images, 2), distil(images, [2] * 10)
    assert many.synthetic.counts is None
    assert many.synthetic.facts["variant"] == one.synthetic.facts["variant"]
    assert torch.equal(one.synthetic.images, many.synthetic.images)


def test_the_recipe_is_that_of_the_number_or_of_the_mean():
    usual = resolve_config("digits", 1, None, None, None)
    assert resolve_config("digits", (1,) * 10, None, None, None) == usual
    assert resolve_config("digits", "proportional:1", None, None, None) == usual
    assert resolve_config("digits", COUNTS, None, None, None) == resolve_config("digits", 1, "none", None, None)


def test_resumed_equals_never_stopped(images, tmp_path):
    settings = {"distill.image_schedule": "constant"}
    distil(images, out=tmp_path / "run", settings=settings)
    longer = settings | {"distill.iterations": 4}
    resumed = distil(images, out=tmp_path / "run", settings=longer, resume=True)
    assert torch.equal(resumed.synthetic.images, distil(images, settings=longer).synthetic.images)
    with pytest.raises(InputError, match=r"ipc was \[3, 1, .*\], now 2"):
        distil(images, 2, out=tmp_path / "run", settings=longer, resume=True)


@pytest.mark.parametrize("name", ["mean", "mse", "mmd", "mtt", "datm"])
def test_other_objectives(images, name):
    trajectory = {"trajectory.experts": 1, "trajectory.epochs": 3, "trajectory.start_high": 1}
    settings = {"objective.name": name, **trajectory, "trajectory.student_steps": 2}
    result = distil(images, settings=settings)
    used = in_use(COUNTS, 3)
    assert result.synthetic.counts == COUNTS
    assert (result.synthetic.images[~used] == 0).all()
    assert not torch.equal(result.synthetic.images, result.start.images)
    if name == "datm":
        assert len(result.synthetic.soft_labels) == 17


@pytest.mark.parametrize("init", ["noise", "real", "first", "rded"])
def test_every_start(images, init):
    start = distil(images, settings={"distill.init": init, "distill.iterations": 0}).synthetic
    assert start.counts == COUNTS
    assert (start.images[~in_use(COUNTS, 3)] == 0).all()
    assert (start.stored.flatten(1).std(1) > 0).all()


def test_proportional_to_the_real_images(digits):
    some = [digits.train.of_class(c)[:n] for c, n in ((0, 30), (1, 10), (2, 5))]
    split = ImageSplit.of(torch.cat(some), torch.arange(3).repeat_interleave(torch.tensor([30, 10, 5])), 3)
    test = ImageSplit.of(torch.cat([part[:2] for part in some]), torch.arange(3).repeat_interleave(2), 3)
    real = ImageSet("three digits", split, test, ("0", "1", "2"))
    found = distil(real, "proportional:3").synthetic
    assert found.counts == (6, 2, 1)
    assert found.facts["ipc"] == "proportional:3"
    assert found.facts["variant"].endswith("ipc=proportional-3")


@pytest.mark.parametrize("method", ["random", "herding", "kmeans", "kcenter", "mosaic", "rded"])
def test_a_selection_has_for_each_class_the_images_of_an_equal_one(images, method):
    pool = ncfm.pretrain(images, settings=ONCE)
    found = select(method, images, pool, ipc=COUNTS, factor=2, generator=rng(3))
    assert found.counts == COUNTS
    for count in (1, 2, 3):
        equal = select(method, images, pool, ipc=count, factor=2, generator=rng(3))
        for c in range(10):
            if COUNTS[c] == count:
                assert torch.equal(found.images[c, :count], equal.images[c])


def test_compare_and_its_rows(images, tmp_path):
    scored = ncfm.compare(
        images,
        ipc=COUNTS,
        methods=["ncfm", "random", "herding"],
        recipe="none",
        settings=ONCE,
        out=tmp_path / "c",
        results=tmp_path / "rows.csv",
    )
    assert [one.evaluation.num_images for one in scored] == [17, 17, 17]
    assert [one.storage for one in scored] == [1.7, 1.7, 1.7]
    rows = read_rows(tmp_path / "rows.csv")
    assert {row["ipc"] for row in rows} == {"1.7"}
    assert all("ipc=3+1+2+1+1+3+2+1+1+2" in row["variant"] for row in rows)
    picture = np.asarray(Image.open(io.BytesIO((tmp_path / "c" / "random" / "images.png").read_bytes())))
    assert (picture[-100:-4, -96:] == 255).all()  # the last digit has two images of the three that fit


def test_what_a_set_is_good_for(images):
    found = distil(images).synthetic
    scores = ncfm.score(found, images, full_epochs=1, full_runs=2, settings=ONCE | {"evaluate.runs": 2})
    assert scores.random.num_images == scores.synthetic_hard.num_images == 17
    learned = ncfm.continual(found, images, steps=2, methods=["random"], settings=ONCE)
    assert set(learned) == {"set", "random"}
    assert ncfm.plan(images, ipc=COUNTS, recipe="none", settings=ONCE, steps=1).seconds > 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"distill.mode": "bounded"}, "distill.mode=bounded"),
        ({"objective.name": "dsdm"}, "objective.name=dsdm"),
        ({"objective.name": "fisher"}, "objective.name=fisher"),
        ({"objective.name": "entropic"}, "objective.name=entropic"),
        ({"distill.classes_per_step": 1}, "distill.classes_per_step"),
        ({"machine.compile": "step"}, "machine.compile=step"),
        ({"distill.extend": "set"}, "distill.extend"),
    ],
)
def test_what_needs_equal_classes_is_refused(images, settings, words):
    with pytest.raises(InputError, match=f"{words} needs equal classes; leave it out, or give one number as --ipc"):
        distil(images, settings=settings)


def test_numbers_for_other_classes_are_refused(images):
    with pytest.raises(InputError, match="for 10 classes, got 2 numbers"):
        distil(images, (1, 2))
    with pytest.raises(InputError, match=r"as a number \(10\), one for each class"):
        distil(images, "many")


@pytest.mark.filterwarnings("default::UserWarning")
def test_the_commands(tmp_path, ncfm_):
    settings = [part for key, value in ONCE.items() for part in ("--set", f"{key}={value}")]
    ipc = ",".join(map(str, COUNTS))
    run = tmp_path / "run"
    done = ncfm_("distill", "digits", "--ipc", ipc, "--recipe", "none", "--out", run, *settings)
    assert "Distilled 10 classes x 1 to 3 images (1 to 3 per class after decoding)" in " ".join(done.out.split())
    assert json.loads((run / "config.json").read_text())["ipc"] == list(COUNTS)
    rows = tmp_path / "rows.csv"
    assert ncfm_("evaluate", run, "--results", rows).code == 0
    (row,) = read_rows(rows)
    assert (row["ipc"], row["storage"]) == ("1.7", "1.7")
    refused = ncfm_("distill", "digits", "--ipc", "1,2", "--recipe", "none", "--out", tmp_path / "other", *settings)
    assert (refused.code, "for 10 classes, got 2 numbers" in refused.err) == (2, True)
