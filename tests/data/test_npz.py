"""Whole datasets in one .npz file: MedMNIST, Keras."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

from image_files import picture, stack
from ncfm._utils.checks import InputError
from ncfm.data import load_images


def arrays(numbers, *, grey=False):
    return np.stack([picture(n, grey=grey) for n in numbers])


def medmnist(*, grey=False, labels=1):
    """Arrays as MedMNIST has them: labels (n, 1)."""

    def column(values):
        return np.repeat(np.array(values, np.uint8)[:, None], labels, 1)

    return {
        "train_images": arrays(range(4), grey=grey),
        "train_labels": column([1, 0, 1, 0]),
        "val_images": arrays([8, 9], grey=grey),
        "val_labels": column([0, 1]),
        "test_images": arrays([4, 5], grey=grey),
        "test_labels": column([1, 0]),
    }


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("compress", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("whole_folder", [False, True])
def test_medmnist(tmp_path, grey, compress, whole_folder):
    compress(tmp_path / "pathmnist.npz", **medmnist(grey=grey))
    images = load_images(str(tmp_path if whole_folder else tmp_path / "pathmnist.npz"))
    assert images.class_names == ("0", "1")
    assert torch.equal(images.train.images, stack([1, 3, 0, 2], grey=grey))
    assert torch.equal(images.test.images, stack([5, 4], grey=grey))
    assert images.problems == ("validation: left unread, since there is another split to test on",)
    assert images.layout == "arrays of a .npz file"


def test_the_validation_split_can_be_chosen(tmp_path):
    np.savez(tmp_path / "x.npz", **medmnist())
    images = load_images(str(tmp_path / "x.npz"), test_split="val")
    assert torch.equal(images.test.images, stack([8, 9]))
    assert images.problems == ("train: left unread next to the training split: test",)


def test_keras(tmp_path):
    np.savez(tmp_path / "mnist.npz", x_train=arrays([0, 1]), y_train=[1, 0], x_test=arrays([2, 3]), y_test=[1, 0])
    images = load_images(str(tmp_path / "mnist.npz"))
    assert torch.equal(images.train.images, stack([1, 0]))
    assert torch.equal(images.test.images, stack([3, 2]))


def test_several_labels_for_each_image_are_refused_by_name(tmp_path):
    np.savez(tmp_path / "chestmnist.npz", **medmnist(labels=14))
    with pytest.raises(InputError, match=r"chestmnist has 14 labels for each image .*only one label"):
        load_images(str(tmp_path / "chestmnist.npz"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train_images": np.zeros((4, 6, 6, 6), np.uint8)}, r"expected images of bytes .* got uint8 \(4, 6, 6, 6\)"),
        ({"train_images": np.zeros((4, 6, 6, 3))}, r"expected images of bytes .* got float64"),
        ({"train_labels": np.zeros(3, np.int64)}, r"expected 4 whole numbers under 'train_labels'"),
        ({"train_labels": np.zeros(4)}, r"expected 4 whole numbers under 'train_labels', got float64"),
        ({"train_labels": np.array([object()] * 4)}, r"Could not read 'train_labels'"),
    ],
    ids=["volumes", "floats", "few labels", "float labels", "objects"],
)
def test_other_arrays_are_refused(tmp_path, change, words):
    np.savez(tmp_path / "x.npz", **{**medmnist(), **change})
    with pytest.raises(InputError, match=words):
        load_images(str(tmp_path / "x.npz"))


def test_a_file_of_something_else_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", weights=np.zeros(3))
    with pytest.raises(InputError, match="expected arrays train_images and train_labels, found weights"):
        load_images(str(tmp_path / "x.npz"))
    (tmp_path / "x.npz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"Could not read .*x\.npz"):
        load_images(str(tmp_path / "x.npz"))


def test_a_folder_of_several_datasets_is_refused(tmp_path):
    for name in ("bloodmnist", "pathmnist"):
        np.savez(tmp_path / f"{name}.npz", **medmnist())
    with pytest.raises(InputError, match=r"several datasets: bloodmnist\.npz, pathmnist\.npz; pass the path"):
        load_images(str(tmp_path))


def test_a_header_that_claims_more_than_there_is_is_refused_before_room_is_made(tmp_path):
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 32, 32), }\n"
    data = np.lib.format.magic(1, 0) + struct.pack("<H", len(header)) + header + b"few"
    labels = io.BytesIO()
    np.save(labels, np.zeros(10, np.uint8))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("train_images.npy", data)
        archive.writestr("train_labels.npy", labels.getvalue())
    tracemalloc.start()
    with pytest.raises(InputError, match="more than there are"):
        load_images(str(tmp_path / "x.npz"))
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()
