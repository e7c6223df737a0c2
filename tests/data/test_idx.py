"""IDX files in the folders and under the names that MNIST and its relatives come with."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from image_files import picture, stack
from ncfm._utils.checks import InputError
from ncfm.data import load_images

TRAIN, TEST = range(12), range(100, 106)


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder: Path, name: str = "{stem}-{kind}-ubyte", stems=("train", "t10k")):
    """Pictures of both splits; image n has the label n % 3."""
    for stem, numbers in zip(stems, (TRAIN, TEST), strict=True):
        images = np.stack([picture(n, grey=True) for n in numbers])
        labels = (np.array(numbers) % 3).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            kaggle = kind.replace("-", ".")
            path = folder / name.format(stem=stem, kind=kind, kaggle=kaggle)
            path.parent.mkdir(parents=True, exist_ok=True)
            data = idx_bytes(array)
            path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return folder


def check(images):
    assert images.class_names[:3] == ("0", "1", "2")
    assert torch.equal(images.train.images, stack([n for c in range(3) for n in range(c, 12, 3)], grey=True))
    assert images.train.counts.tolist()[:3] == [4, 4, 4]
    assert torch.equal(images.test.images, stack([102, 105, 100, 103, 101, 104], grey=True))


@pytest.mark.parametrize(
    "name",
    [
        "MNIST/raw/{stem}-{kind}-ubyte",  # torchvision
        "MNIST/raw/{stem}-{kind}-ubyte.gz",
        "{stem}-{kaggle}-ubyte",  # Kaggle
        "{stem}-{kaggle}-ubyte.gz",
        "{stem}-{kind}-ubyte/{stem}-{kind}-ubyte",
        "mnist/{stem}-{kaggle}-ubyte/{stem}-{kaggle}-ubyte",
    ],
)
def test_every_name_of_a_file(tmp_path, name):
    images = load_images(str(write_idx(tmp_path, name)))
    check(images)
    assert images.layout.startswith("IDX files")
    assert images.problems == ()


@pytest.mark.parametrize("folder", ["mnist", "MNIST/raw", "MNIST"])
def test_mnist_by_name(tmp_path, folder):
    write_idx(tmp_path / folder)
    images = load_images("mnist", data_dir=tmp_path, image_size=6)
    check(images)
    assert images.name == "mnist"
    assert load_images("mnist", data_dir=tmp_path).image_size == 28


def test_fashion_mnist_in_the_folder_of_torchvision(tmp_path):
    write_idx(tmp_path / "FashionMNIST" / "raw")
    assert load_images("fashion-mnist", data_dir=tmp_path).class_names == ("T-shirt/top", "Trouser", "Pullover")


def test_folders_next_to_the_raw_files_are_named(tmp_path):
    write_idx(tmp_path / "raw")
    (tmp_path / "processed").mkdir()
    images = load_images(str(tmp_path))
    check(images)
    assert images.layout == "IDX files in raw"
    assert images.problems == ("train: left unread next to the dataset: processed",)


def test_kaggles_copies_of_the_same_files_are_one(tmp_path):
    write_idx(tmp_path)
    write_idx(tmp_path, "{stem}-{kaggle}-ubyte")
    check(load_images(str(tmp_path)))


def test_several_sets_in_one_folder_need_a_choice(tmp_path):
    """As EMNIST has them."""
    for variant in ("digits", "letters"):
        write_idx(tmp_path, stems=(f"emnist-{variant}-train", f"emnist-{variant}-test"))
    with pytest.raises(
        InputError, match="emnist-digits-train, emnist-letters-train are all of the train split; choose"
    ):
        load_images(str(tmp_path))
    with pytest.raises(InputError, match=r"emnist-letters-test are all of the test split; choose one .--test-split"):
        load_images(str(tmp_path), train_split="emnist-letters-train")
    images = load_images(str(tmp_path), train_split="emnist-letters-train", test_split="emnist-letters-test")
    check(images)
    assert images.problems == (
        "train: left unread next to the training files: emnist-digits-test, emnist-digits-train",
    )


def test_splits_may_be_exchanged(tmp_path):
    write_idx(tmp_path)
    images = load_images(str(tmp_path), train_split="t10k", test_split="train")
    assert (len(images.train), len(images.test)) == (6, 12)


def test_missing_files_are_named(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match=r"expected train-images-idx3-ubyte and train-labels-idx1-ubyte \(or \.gz\)"):
        load_images(str(tmp_path))
    (tmp_path / "train-images-idx3-ubyte").unlink()
    with pytest.raises(InputError, match="expected train-images-idx3-ubyte"):
        load_images(str(tmp_path))


def test_idx_files_have_no_columns(tmp_path):
    write_idx(tmp_path)
    with pytest.raises(InputError, match=r"IDX files\. It has no columns; leave out --image-column and --label-column"):
        load_images(str(tmp_path), label_column="label")
