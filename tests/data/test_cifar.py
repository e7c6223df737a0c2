"""CIFAR-10 and CIFAR-100 as they are published: the pickles give what the parquet files of the hub give."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from image_files import picture, stack
from ncfm._utils.checks import InputError
from ncfm.data import load_images
from python2_pickle import python2_pickle

NAMES = ["cat", "dog", "emu"]
COARSE = ["bird", "pet"]
REAL = Path(os.environ.get("NCFM_DATA", "nowhere")) / "cifar10"


def rows(numbers):
    """Images (n, 3072) as the published files have them."""
    return np.stack([picture(number, 32).transpose(2, 0, 1).reshape(-1) for number in numbers])


def write_cifar10(folder: Path, dump=python2_pickle, names=NAMES):
    """Five training batches of three images and a test batch; image i has the label i % 3."""
    folder.mkdir(parents=True)
    for batch in range(6):
        numbers = list(range(3 * batch, 3 * batch + 3))
        content = {
            "labels": [n % 3 for n in numbers],
            "data": rows(numbers),
            "filenames": [f"{n}.png" for n in numbers],
        }
        (folder / ("test_batch" if batch == 5 else f"data_batch_{batch + 1}")).write_bytes(dump(content))
    (folder / "batches.meta").write_bytes(dump({"num_cases_per_batch": 3, "label_names": names}))
    return folder


def write_cifar100(folder: Path):
    """Six training images and three test images with fine and coarse labels."""
    folder.mkdir(parents=True)
    for name, numbers in (("train", list(range(6))), ("test", [15, 16, 17])):
        fine = [n % 3 for n in numbers]
        content = {"fine_labels": fine, "coarse_labels": [int(f < 2) for f in fine], "data": rows(numbers)}
        (folder / name).write_bytes(python2_pickle(content))
    meta = {"fine_label_names": NAMES, "coarse_label_names": COARSE}
    (folder / "meta").write_bytes(python2_pickle(meta))
    return folder


def check(images, names=NAMES):
    """The images of `write_cifar10`."""
    assert images.class_names == tuple(names)
    assert torch.equal(images.train.images, stack([n for label in range(3) for n in range(label, 15, 3)], 32))
    assert images.train.counts.tolist() == [5, 5, 5]
    assert torch.equal(images.test.images, stack([15, 16, 17], 32))
    assert images.problems == ()


@pytest.mark.parametrize("dump", [python2_pickle, pickle.dumps], ids=["Python 2", "Python 3"])
def test_the_pickles_of_cifar10(tmp_path, dump):
    images = load_images(str(write_cifar10(tmp_path / "cifar-10-batches-py", dump)))
    check(images)
    assert images.layout == "pickles of CIFAR-10"


@pytest.mark.parametrize("where", ["cifar10", "cifar10/cifar-10-batches-py", "cifar-10-batches-py"])
def test_cifar10_by_name(tmp_path, where):
    write_cifar10(tmp_path / where)
    images = load_images("cifar10", data_dir=tmp_path)
    check(images)
    assert images.name == "cifar10"


def test_cifar10_as_it_is_downloaded(tmp_path):
    folder = write_cifar10(tmp_path / "unpacked" / "cifar-10-batches-py")
    with tarfile.open(tmp_path / "cifar-10-python.tar.gz", "w:gz") as archive:
        archive.add(folder, "cifar-10-batches-py")
    for images in (
        load_images(str(tmp_path / "cifar-10-python.tar.gz")),
        load_images("cifar10", data_dir=tmp_path),
    ):
        check(images)
        assert images.layout == "pickles of CIFAR-10 in cifar-10-batches-py, in an archive"
    folder.rename(tmp_path / "cifar-10-batches-py")  # the download may stay next to it
    images = load_images("cifar10", data_dir=tmp_path)
    check(images)
    assert images.layout == "pickles of CIFAR-10"


def test_cifar100_has_fine_and_coarse_labels(tmp_path):
    folder = write_cifar100(tmp_path / "cifar-100-python")
    guessed = load_images(str(folder))
    assert guessed.class_names == tuple(NAMES)
    remark = "train: column fine_label holds the labels, coarse_label is left unread (--label-column NAME)"
    assert guessed.problems == (remark,)
    fine = load_images("cifar100", data_dir=tmp_path)
    assert fine.problems == ()
    assert fine.fingerprint == guessed.fingerprint
    for coarse in (
        load_images("cifar100-coarse", data_dir=tmp_path),
        load_images(str(folder), label_column="coarse_label"),
    ):
        assert coarse.class_names == tuple(COARSE)
        assert torch.equal(coarse.train.images, stack([2, 5, 0, 1, 3, 4], 32))
        assert coarse.problems == ()
    with pytest.raises(InputError, match="no labels 'label'; choose --label-column fine_label or coarse_label"):
        load_images(str(folder), label_column="label")


def test_cifar10_has_no_columns_to_choose(tmp_path):
    folder = write_cifar10(tmp_path / "x")
    with pytest.raises(InputError, match=r"pickles of CIFAR-10\. It has no columns; leave out"):
        load_images(str(folder), label_column="fine_label")


def test_a_missing_batch_is_named(tmp_path):
    folder = write_cifar10(tmp_path / "x")
    (folder / "data_batch_4").unlink()
    with pytest.raises(InputError, match=r"Expected a file .*data_batch_4 next to the others of CIFAR-10"):
        load_images(str(folder))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"labels": [0, 1], "data": rows([1])}, "expected 1 label under 'labels', found 2"),
        ({"labels": [0], "data": rows([1])[:, :100]}, r"expected bytes \(n, 3072\) under 'data', found \(1, 100\)"),
        ({"labels": [0]}, r"expected bytes \(n, 3072\) under 'data', found none"),
    ],
)
def test_a_batch_of_another_form_is_refused(tmp_path, content, words):
    folder = write_cifar10(tmp_path / "x")
    (folder / "test_batch").write_bytes(pickle.dumps(content))
    with pytest.raises(InputError, match=words):
        load_images(str(folder))


def test_a_hostile_batch_is_refused_with_a_converter(tmp_path):
    folder = write_cifar10(tmp_path / "x")
    (folder / "data_batch_2").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InputError, match=r"data_batch_2 asks for os\.system, .*CIFAR10\(.*savez\('cifar10\.npz'"):
        load_images(str(folder))


def test_what_the_converter_writes_is_read(tmp_path):
    numbers = list(range(6))
    images = np.stack([picture(n, 32) for n in numbers])
    file = tmp_path / "cifar10.npz"
    np.savez(file, train_images=images, train_labels=[0, 1, 2] * 2, test_images=images[:3], test_labels=[0, 1, 2])
    assert torch.equal(load_images(str(file)).train.images, stack([0, 3, 1, 4, 2, 5], 32))


def published_batch(table, label):
    """Rows of the hub's parquet file as a published file."""
    cells = table["img"].to_pylist()
    data = np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in cells])
    return python2_pickle(
        {
            "batch_label": label,
            "labels": table["label"].to_pylist(),
            "data": data.transpose(0, 3, 1, 2).reshape(-1, 3072),
            "filenames": [cell["path"] for cell in cells],
        }
    )


def real(test):
    """Marks a test that needs the real files."""
    present = any(REAL.glob("test-*.parquet"))
    return pytest.mark.real(pytest.mark.skipif(not present, reason="needs NCFM_DATA with cifar10 of the hub")(test))


def real_test_rows():
    (file,) = REAL.glob("test-*.parquet")
    return pq.read_table(file)


def write_real(root):
    """600 real images in both forms: folders ``pickles`` and ``parquet``."""
    table = real_test_rows()
    pickles, parquet = root / "pickles", root / "parquet"
    for folder in (pickles, parquet):
        folder.mkdir()
    for batch in range(6):
        name = "test_batch" if batch == 5 else f"data_batch_{batch + 1}"
        (pickles / name).write_bytes(published_batch(table.slice(100 * batch, 100), name))
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    meta = {"num_cases_per_batch": 10_000, "label_names": names, "num_vis": 3072}
    (pickles / "batches.meta").write_bytes(python2_pickle(meta))
    pq.write_table(table.slice(0, 500), parquet / "train.parquet")
    pq.write_table(table.slice(500, 100), parquet / "test.parquet")
    return pickles, parquet


@real
def test_the_pickles_give_what_the_parquet_files_of_the_hub_give(tmp_path):
    pickles, parquet = (load_images(str(folder)) for folder in write_real(tmp_path))
    assert pickles.class_names == parquet.class_names
    assert pickles.fingerprint == parquet.fingerprint  # of pixels, labels and class names
    assert torch.equal(pickles.test.images, parquet.test.images)
    assert torch.equal(pickles.test.labels, parquet.test.labels)


@real
@pytest.mark.slow
def test_the_files_of_these_tests_are_the_published_ones():
    """MD5 sum of ``test_batch``, as torchvision has it."""
    content = published_batch(real_test_rows(), "testing batch 1 of 1")
    assert hashlib.md5(content).hexdigest() == "40351d587109b95175f43aff81a1287e"
