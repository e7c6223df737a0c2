"""Evaluation of external sets: exports as the set itself, mosaics of others by their factor, soft labels."""

import pytest
import torch

import ncfm
from ncfm._utils.checks import InputError
from ncfm._utils.types import LabelledImages
from ncfm.data.levels import to_float, to_uint8
from ncfm.formats import export
from ncfm.formats.reading import is_set
from ncfm.workflows.set_row import row_of_set
from sets import with_soft_labels
from tiny import NETWORK

SETTINGS = {"evaluate.network": NETWORK, "evaluate.epochs": 2, "evaluate.runs": 2}


@pytest.fixture(scope="module")
def mosaics(digits):
    return with_soft_labels(digits)


def evaluate(source, **options):
    settings = SETTINGS | options.pop("settings", {})
    return ncfm.evaluate(source, "digits", settings=settings, **options)


def write(folder, images, labels, name="theirs.pt"):
    torch.save({"images": images, "labels": labels}, folder / name)
    return folder / name


@pytest.mark.parametrize("to", ["pt", "npz", "parquet", "hf", "png"])
def test_an_export_of_mosaics_is_judged_as_the_set(mosaics, tmp_path, to):
    levels = mosaics.with_images(to_float(to_uint8(mosaics.images)))
    place = export(levels, tmp_path / {"hf": "hf", "png": "png"}.get(to, f"set.{to}"), to=to, stored=True).path
    found, expected = evaluate(place), evaluate(levels)
    assert found.accuracies == expected.accuracies
    assert found.num_images == 80
    if to != "hf":  # which has the set itself, for `ncfm.load`
        assert (found.num_stored, found.storage) == (20, 2)
    assert is_set(place) == (to == "hf")


@pytest.mark.filterwarnings("ignore:.*labels are probabilities")
def test_soft_labels_of_an_export_are_those_of_the_set(mosaics, tmp_path):
    place = export(mosaics, tmp_path / "set.pt", to="pt").path
    found, expected = evaluate(place), evaluate(mosaics)
    assert found.protocol == expected.protocol
    assert "soft(T=1 weight=1)" in found.protocol
    assert found.accuracies == pytest.approx(expected.accuracies, abs=0.02)  # labels to the last digits of float32
    hard = evaluate(place, settings={"evaluate.labels": "hard"})
    assert hard.accuracies == evaluate(mosaics, settings={"evaluate.labels": "hard"}).accuracies


def test_mosaics_of_another_program_are_decoded_by_the_factor(mosaics, tmp_path):
    images, labels = mosaics.images.flatten(0, 1), mosaics.stored_labels
    hard = {"evaluate.labels": "hard"}
    expected = evaluate(mosaics, settings=hard).accuracies
    place = write(tmp_path, images, labels)
    found = evaluate(place, factor=2)
    assert found.accuracies == expected
    assert evaluate(LabelledImages(images, labels), factor=2).accuracies == expected
    assert evaluate(place).num_images == 20
    row = row_of_set(place, found, "digits", settings=SETTINGS, normalized_by="none", factor=2)
    assert row.variant == "theirs.pt,normalized_by=none,factor=2"
    assert (row.ipc, row.storage) == (2, 2)


@pytest.mark.filterwarnings("default:.*labels are taken as logits")
def test_logits_of_another_program_train_as_soft_labels(mosaics, tmp_path):
    images, _ = mosaics.decoded()
    logits = mosaics.soft_labels.log_probabilities() + 3
    with pytest.warns(UserWarning, match="labels are taken as logits"):
        found = evaluate(write(tmp_path, images, logits))
    assert "soft(T=1 weight=1)" in found.protocol
    assert found.accuracies == pytest.approx(evaluate(mosaics).accuracies, abs=0.02)
    row = row_of_set("theirs.pt", found, "digits", settings=SETTINGS)
    assert (row.ipc, row.storage) == (8, pytest.approx(8 + 8 * 40 / 64))  # 10 floats per image, of 64 pixels


def test_a_set_of_ncfm_records_its_factor(mosaics):
    with pytest.raises(InputError, match=r"records its factor \(2\); leave out factor"):
        evaluate(mosaics, factor=2)
    with pytest.raises(InputError, match="factor must lie in"):
        evaluate(LabelledImages(mosaics.images.flatten(0, 1), mosaics.stored_labels), factor=9)


# --- command line -------------------------------------------------------------------------------------------


def arguments(*more):
    settings = [part for key, value in SETTINGS.items() for part in ("--set", f"{key}={value}")]
    return ("evaluate", *more, "--on", "digits", *settings)


def test_the_factor_on_the_command_line(ncfm_, mosaics, tmp_path):
    place = write(tmp_path, mosaics.images.flatten(0, 1), mosaics.stored_labels)
    done = ncfm_(*arguments(place, "--factor", 2, "--results", tmp_path / "rows.csv"))
    assert done.code == 0, done.err
    assert "on 80 images" in done.out
    row = ncfm.results.files.read_rows(tmp_path / "rows.csv")[0]
    assert (row["variant"], row["ipc"], float(row["storage"])) == ("theirs.pt,factor=2", "2", 2)
    ncfm.save(mosaics, tmp_path / "own")
    done = ncfm_(*arguments(tmp_path / "own", "--factor", 2))
    assert done.code == 2
    assert "records its factor" in done.err
    done = ncfm_(*arguments(place, "--factor", 2, "--against", tmp_path / "own"))
    assert done.code == 0, done.err
