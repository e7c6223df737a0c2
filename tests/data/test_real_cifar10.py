"""The real CIFAR-10, where its files are at hand: what was published about it."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ncfm.data import ImageSet, load_images

FOLDER = Path(os.environ.get("NCFM_DATA", "nowhere")) / "cifar10"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(
        not any(FOLDER.glob("train-*.parquet")),
        reason="needs NCFM_DATA with a folder cifar10 of Hugging Face's parquet files",
    ),
]

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.fixture(scope="module")
def test_table() -> pa.Table:
    (path,) = FOLDER.glob("test-*.parquet")
    return pq.read_table(path)


@pytest.fixture(scope="module")
def some(test_table, tmp_path_factory) -> ImageSet:
    """The first 2,000 test images as training split and 500 more as test split: decoding all takes long."""
    folder = tmp_path_factory.mktemp("cifar10") / "cifar10"
    folder.mkdir()
    pq.write_table(test_table.slice(0, 2000), folder / "train.parquet")
    pq.write_table(test_table.slice(2000, 500), folder / "test.parquet")
    return load_images("cifar10", data_dir=folder.parent)


def test_shapes_and_names(some):
    assert some.class_names == NAMES
    assert some.train.images.shape == (2000, 3, 32, 32)
    assert len(some.require_test()) == 500


def test_labels_are_those_of_the_file_sorted(some, test_table):
    labels = test_table.column("label").to_pylist()[:2000]
    assert some.train.labels.tolist() == sorted(labels)


def test_the_test_images_are_in_their_published_order(test_table):
    labels = test_table.column("label").to_pylist()[:10]
    assert labels == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]  # cat, ship, ship, airplane, frog, ... as in test_batch


def test_pixels_are_near_the_published_statistics(some):
    """Of 2,000 images; the mean of an image varies by about 0.12, that of 2,000 by 0.003."""
    assert some.statistics.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.012)
    assert some.statistics.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.012)


def test_every_class_has_its_published_number_of_images():
    """5,000 train and 1,000 test images of each; read without decoding a single one."""
    for split, number in (("train", 5000), ("test", 1000)):
        files = sorted(FOLDER.glob(f"{split}-*.parquet"))
        labels = pa.concat_tables([pq.read_table(f, columns=["label"]) for f in files])["label"].to_pylist()
        assert [labels.count(c) for c in range(10)] == [number] * 10


@pytest.mark.slow
def test_the_whole_training_split_has_the_published_statistics():
    images = load_images("cifar10")
    assert images.train.counts.tolist() == [5000] * 10
    assert images.require_test().counts.tolist() == [1000] * 10
    assert images.statistics.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=1e-4)
    assert images.statistics.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=1e-4)
