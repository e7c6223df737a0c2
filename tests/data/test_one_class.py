"""Labels of several classes are refused in one sentence, wherever they come from."""

from __future__ import annotations

import io

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ncfm
from ncfm._utils.checks import InputError
from ncfm._utils.types import LabelledImages
from ncfm.data import images_of, load_images
from ncfm.data.one_class import check_one_class
from ncfm.formats.reading import read_external


def encoded(picture):
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


PICTURES = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
PNGS = [encoded(picture) for picture in PICTURES]
MANY_HOT = [[1, 0, 0], [1, 0, 1], [0, 1, 0], [0, 0, 1]]
INDICES = [[0], [0, 2], [1], [2]]
SAID = r"image 1 has several labels, \[{}\]; multi-label data are not supported, every image needs one class"


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (INDICES, "0, 2"),
        (MANY_HOT, "1, 0, 1"),
        (np.array(MANY_HOT), "1, 0, 1"),
        (torch.tensor(MANY_HOT).float(), "1.0, 0.0, 1.0"),
        ([torch.tensor(row) for row in MANY_HOT], "1, 0, 1"),
        ([("cat",), ("cat", "dog"), ("dog",)], "cat, dog"),
        ([[0, 1], [2, 3]], None),  # indices, at the first image already
        ([{1}, {0, 2}], "0, 2"),
    ],
)
def test_several_classes_are_refused(labels, shown):
    said = r"the data: image \d has several labels" if shown is None else "the data: " + SAID.format(shown)
    with pytest.raises(InputError, match=said):
        check_one_class(labels, "the data")


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 2],
        np.array([0, 1, 2]),
        torch.tensor([0, 1]),
        ["cat", "dog"],
        [[0], [1]],
        [[1, 0], [0, 1]],  # one-hot
        torch.eye(3),
        [[0.2, 0.8], [0.5, 0.5]],  # soft
        np.array([[0], [5]]),
        [None, 1],
        [],
    ],
)
def test_one_class_per_image_is_left_to_others(labels):
    check_one_class(labels, "the data")


@pytest.mark.parametrize("labels", [INDICES, np.array(MANY_HOT)], ids=["lists", "several ones"])
def test_in_arrays(labels):
    with pytest.raises(InputError, match="train: image 1 has several labels"):
        images_of((PICTURES, labels))


@pytest.mark.parametrize("labels", [INDICES, MANY_HOT], ids=["lists", "several ones"])
def test_in_a_column_of_sequences(tmp_path, labels):
    pq.write_table(pa.table({"image": PNGS[:4], "labels": labels}), tmp_path / "train.parquet")
    with pytest.raises(InputError, match=r"train.parquet, column 'labels': image 1 has several labels"):
        load_images(str(tmp_path))


def test_on_the_hub(monkeypatch):
    table = datasets.Dataset.from_dict(
        {"image": [Image.fromarray(picture) for picture in PICTURES], "labels": INDICES},
        features=datasets.Features({"image": datasets.Image(), "labels": datasets.Sequence(datasets.Value("int64"))}),
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda name: datasets.DatasetDict(train=table))
    with pytest.raises(InputError, match="column 'labels': image 1 has several labels"):
        load_images("hf:somebody/tags")


def test_in_a_set_to_evaluate(digits, tmp_path):
    labels = torch.zeros(10, 10, dtype=torch.int64)
    labels[:, :2] = 1
    pixels = torch.rand(10, 1, 8, 8)
    with pytest.raises(InputError, match=r"image 0 has several labels, \[1, 1, 0, 0, 0, 0, 0, 0, 0, 0\]"):
        ncfm.evaluate(LabelledImages(pixels, labels), digits)
    torch.save({"images": pixels, "labels": labels}, tmp_path / "set.pt")
    with pytest.raises(InputError, match=r"set.pt: image 0 has several labels"):
        read_external(tmp_path / "set.pt", digits)
