"""``ncfm data``: which layout was recognised, and the options that choose columns and splits."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from image_files import png
from ncfm.cli._options import Setup
from ncfm.config.build import build_data
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import config_of_set, describe_run


@pytest.fixture
def pets(tmp_path):
    """A folder with a table of 12 images with two kinds of labels for each of the splits ``a`` and ``b``."""
    for split, first in (("a", 0), ("b", 12)):
        numbers = range(first, first + 12)
        labels = {"fine_label": [n % 3 for n in numbers], "coarse_label": [n % 2 for n in numbers]}
        pq.write_table(pa.table({"image": [png(n, 8) for n in numbers], **labels}), tmp_path / f"{split}.parquet")
    return tmp_path


def test_the_layout_and_what_was_guessed_are_printed(ncfm_, pets):
    done = ncfm_("data", pets)
    assert done.code == 0
    assert "read as" in done.out
    assert "parquet files" in done.out
    assert "column fine_label holds the labels, coarse_label is left unread (--label-column NAME)" in done.out


def test_columns_and_splits_are_options(ncfm_, pets):
    options = ["--label-column", "coarse_label", "--train-split", "a", "--test-split", "b"]
    card = json.loads(ncfm_("data", pets, *options, "--json").out)
    assert card["train_counts"] == card["test_counts"] == [6, 6]
    assert card["layout"] == "parquet files"
    assert card["problems"] == []
    assert json.loads(ncfm_("data", pets, "--image-column", "image", *options, "--json").out) == card


def test_a_column_that_does_not_exist_is_one_sentence(ncfm_, pets):
    done = ncfm_("data", pets, "--image-column", "scan")
    assert done.code == 2
    assert "no image column named scan (columns: image, fine_label, coarse_label)" in " ".join(done.err.split())


def test_the_options_are_short_for_settings():
    setup = Setup(image_column="i", label_column="l", train_split="a", test_split="b")
    assert setup.arguments()["settings"] == {
        "data.image_column": "i",
        "data.label_column": "l",
        "data.train_split": "a",
        "data.test_split": "b",
    }


def test_what_a_run_records_of_the_choice_reads_the_same_images(pets):
    choice = {"data.label_column": "coarse_label", "data.train_split": "a", "data.test_split": "b"}
    config = make_config(nest(choice))
    images = build_data(str(pets), config)
    assert images.class_names == ("0", "1")
    assert len(images.train) == len(images.test) == 12
    recorded = describe_run(images.name, 1, config)["config"]
    assert {f"data.{key}": recorded["data"][key] for key in ("label_column", "train_split", "test_split")} == choice
    again = build_data(str(pets), config_of_set(recorded, None, None))
    assert again.fingerprint == images.fingerprint
