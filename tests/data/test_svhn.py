"""SVHN from its MATLAB files and from the hub."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.io import savemat

from image_files import picture, stack, write_image
from ncfm._utils.checks import InputError
from ncfm.data import load_images


def write_mat(path: Path, numbers, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    images = np.stack([picture(n, 32) for n in numbers], axis=-1)
    savemat(path, {"X": images, "y": np.array(labels, np.uint8)[:, None]})


def write_svhn(folder: Path):
    write_mat(folder / "train_32x32.mat", [0, 1, 2, 3], [10, 1, 9, 10])  # 10 is the digit 0
    write_mat(folder / "test_32x32.mat", [4, 5, 6], [1, 10, 9])
    write_mat(folder / "extra_32x32.mat", [7, 8], [1, 10])
    return folder


def check(images):
    assert images.class_names == ("0", "1", "9")  # of the ten digits those that occur
    assert torch.equal(images.train.images, stack([0, 3, 1, 2], 32))
    assert images.train.counts.tolist() == [2, 1, 1]
    assert torch.equal(images.test.images, stack([5, 4, 6], 32))


@pytest.mark.parametrize("folder", ["svhn", "SVHN"])
def test_svhn_by_name(tmp_path, folder):
    images = load_images("svhn", data_dir=write_svhn(tmp_path / folder).parent)
    check(images)
    assert images.problems[0] == "train: left unread next to the training file: extra_32x32.mat"


def test_svhn_by_path(tmp_path):
    images = load_images(str(write_svhn(tmp_path)))
    check(images)
    assert images.layout == "MATLAB files of SVHN"


def test_the_extra_images_can_be_chosen(tmp_path):
    images = load_images(str(write_svhn(tmp_path)), train_split="extra")
    assert torch.equal(images.train.images, stack([8, 7], 32))
    assert images.problems[0] == "train: left unread next to the training file: train_32x32.mat"


def test_the_hub_has_it_under_a_configuration(tmp_path, monkeypatch):
    import datasets

    asked = []

    def load_dataset(*arguments):
        asked.append(arguments)
        splits = {}
        for split, numbers in (("train", [0, 1]), ("test", [2, 3]), ("extra", [4, 5])):
            features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["0", "1"])})
            cells = [{"bytes": None, "path": str(tmp_path / f"{n}.png")} for n in numbers]
            splits[split] = datasets.Dataset.from_dict({"image": cells, "label": [1, 0]}, features=features)
        return datasets.DatasetDict(splits)

    for number in range(6):
        write_image(tmp_path / f"{number}.png", number, 32)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    images = load_images("svhn", data_dir=tmp_path / "nothing")
    assert asked == [("ufldl-stanford/svhn", "cropped_digits")]
    assert torch.equal(images.train.images, stack([1, 0], 32))
    assert images.problems == ("extra: left unread",)
    assert images.layout == "hf:ufldl-stanford/svhn:cropped_digits"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"X": np.zeros((8, 8, 3, 2), np.uint8), "y": [1]}, "expected 2 labels under 'y', found 1"),
        ({"X": np.zeros((8, 8, 3, 2)), "y": [1, 2]}, r"expected bytes \(h, w, 3, n\) under 'X'"),
        ({"y": [1, 2]}, "under 'X', found none"),
    ],
)
def test_other_arrays_are_refused(tmp_path, content, words):
    savemat(tmp_path / "train_32x32.mat", content)
    with pytest.raises(InputError, match=words):
        load_images(str(tmp_path))


def test_a_damaged_file_is_named(tmp_path):
    write_svhn(tmp_path)
    path = tmp_path / "train_32x32.mat"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match=r"Could not read .*train_32x32\.mat as a MATLAB file"):
        load_images(str(tmp_path))
