"""Which layout a place has: one folder down, several datasets, chosen splits and columns."""

from __future__ import annotations

import json

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from image_files import png, stack, write_image
from ncfm._utils.checks import InputError
from ncfm.data import load_images

NAMES = ["cat", "dog"]


def write_parquet(path, numbers, **columns):
    """Pictures with the labels n % 2, and other columns."""
    columns = columns or {"label": [n % 2 for n in numbers]}
    cells = [{"bytes": png(n), "path": f"{n}.png"} for n in numbers]
    features = {"image": {"_type": "Image"}} | {name: {"names": NAMES, "_type": "ClassLabel"} for name in columns}
    table = pa.table({"image": cells, **columns})
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), path)


def write_split_files(folder, train="train-00000-of-00001", test="test-00000-of-00001"):
    write_parquet(folder / f"{train}.parquet", [0, 1, 2, 3])
    write_parquet(folder / f"{test}.parquet", [4, 5])
    return folder


def check(images):
    assert images.class_names == ("cat", "dog")
    assert torch.equal(images.train.images, stack([0, 2, 1, 3]))
    assert torch.equal(images.test.images, stack([4, 5]))


# --- snapshots of the hub -----------------------------------------------------------------------------------


@pytest.mark.parametrize("below", ["plain_text", "data", "anything"])
def test_a_snapshot_of_the_hub(tmp_path, below):
    write_split_files(tmp_path / below)
    (tmp_path / "README.md").write_text("# A dataset\n")
    (tmp_path / ".git").mkdir()
    images = load_images(str(tmp_path))
    check(images)
    assert images.layout == f"parquet files in {below}"
    assert images.problems == ()


def test_a_named_set_from_a_snapshot(tmp_path):
    write_split_files(tmp_path / "mnist" / "mnist")
    check(load_images("mnist", data_dir=tmp_path, image_size=6, channels=3))


def test_a_snapshot_with_a_folder_for_each_split(tmp_path):
    """As the hub converts datasets: ``default/train/0000.parquet``."""
    write_parquet(tmp_path / "default" / "train" / "0000.parquet", [0, 1])
    write_parquet(tmp_path / "default" / "train" / "0001.parquet", [2, 3])
    write_parquet(tmp_path / "default" / "test" / "0000.parquet", [4, 5])
    for place in (tmp_path, tmp_path / "default"):
        images = load_images(str(place))
        check(images)
        assert images.problems == ()


def test_a_folder_of_the_hubs_cache(tmp_path):
    """Its snapshots link to files under other names."""
    cache = tmp_path / "datasets--someone--pets"
    snapshot = cache / "snapshots" / "0a1b"
    write_split_files(snapshot / "data")
    (cache / "blobs").mkdir()
    for number, file in enumerate(sorted((snapshot / "data").iterdir())):
        blob = file.rename(cache / "blobs" / str(number))
        file.symlink_to(blob)
    write_split_files(cache / "snapshots" / "older" / "data", test="validation")
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("0a1b")
    check(load_images(str(cache)))


def test_several_configurations_are_refused(tmp_path):
    for name in ("cropped_digits", "full_numbers"):
        write_split_files(tmp_path / name)
    with pytest.raises(
        InputError, match=r"several configurations .* cropped_digits, full_numbers; pass the path of one"
    ):
        load_images(str(tmp_path))
    check(load_images(str(tmp_path / "cropped_digits")))


def test_files_one_folder_down_are_named_if_others_are_read(tmp_path):
    write_split_files(tmp_path)
    write_split_files(tmp_path / "old", "train", "test")
    images = load_images(str(tmp_path))
    check(images)
    assert images.problems == ("train: left unread next to the files: old/test.parquet, old/train.parquet",)


# --- one folder down ----------------------------------------------------------------------------------------


def write_npz(path, numbers=(0, 1)):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, train_images=stack(list(numbers)).permute(0, 2, 3, 1).numpy(), train_labels=[0, 1])


@pytest.mark.parametrize("below", ["pets", "pets/images", "download/pets"])
def test_class_folders_in_the_only_folder(tmp_path, below):
    for number in range(4):
        write_image(tmp_path / below / "train" / NAMES[number % 2] / f"{number}.png", number)
    images = load_images(str(tmp_path))
    assert torch.equal(images.train.images, stack([0, 2, 1, 3]))
    assert images.layout == "a folder for each class in " + " in ".join(reversed(below.split("/")))


def test_several_datasets_are_refused(tmp_path):
    write_npz(tmp_path / "a" / "x.npz")
    write_npz(tmp_path / "b" / "y.npz")
    with pytest.raises(InputError, match="has several datasets: a, b; pass the path of one of them"):
        load_images(str(tmp_path))


def test_files_of_a_layout_below_folders_of_images_are_no_dataset(tmp_path):
    for number in range(4):
        write_image(tmp_path / NAMES[number % 2] / f"{number}.png", number)
    write_npz(tmp_path / "features" / "x.npz", (8, 9))
    assert torch.equal(load_images(str(tmp_path)).train.images, stack([0, 2, 1, 3]))


# --- chosen splits ------------------------------------------------------------------------------------------


def test_parquet_splits_can_be_chosen(tmp_path):
    write_split_files(tmp_path, "train_small", "test")
    write_parquet(tmp_path / "train_full-00000-of-00002.parquet", [0, 1])
    write_parquet(tmp_path / "train_full-00001-of-00002.parquet", [2, 3])
    images = load_images(str(tmp_path), train_split="train_full")
    check(images)
    assert images.problems == ("train: left unread next to the training files: train_small.parquet",)
    both = load_images(str(tmp_path))
    assert len(both.train) == 8


@pytest.mark.parametrize("name", ["odd_train_test", "odd_train_test.parquet"])
def test_a_name_of_several_splits_can_be_chosen(tmp_path, name):
    write_split_files(tmp_path, "a", "odd_train_test")
    check(load_images(str(tmp_path), train_split="a", test_split=name))


def test_the_validation_split_can_be_tested_on(tmp_path):
    write_split_files(tmp_path, test="validation")
    write_parquet(tmp_path / "test.parquet", [6, 7])
    images = load_images(str(tmp_path), test_split="val")
    check(images)
    assert images.problems == ("train: left unread next to the training files: test.parquet",)


def test_splits_of_a_folder_can_be_chosen(tmp_path):
    for number, split in enumerate(["set_a", "set_a", "set_a", "set_a", "set_b", "set_b", "set_c"]):
        write_image(tmp_path / split / NAMES[number % 2] / f"{number}.png", number)
    images = load_images(str(tmp_path), train_split="set_a", test_split="set_b")
    check(images)
    assert images.problems == ("train: left unread next to the training folder: set_c",)


def test_splits_that_do_not_exist_are_refused(tmp_path):
    write_split_files(tmp_path / "files")
    write_image(tmp_path / "folder" / "a" / "0.png", 0)
    with pytest.raises(InputError, match=r"no split 'dev' for --test-split; found test-0.*, train-0.*\.parquet"):
        load_images(str(tmp_path / "files"), test_split="dev")
    with pytest.raises(InputError, match="no split 'dev' for --train-split; found a"):
        load_images(str(tmp_path / "folder"), train_split="dev")


def test_one_split_cannot_be_both(tmp_path):
    write_split_files(tmp_path)
    with pytest.raises(InputError, match="different splits for training and testing, got test-0"):
        load_images(str(tmp_path), train_split="test", test_split="test")


# --- chosen columns -----------------------------------------------------------------------------------------


def test_what_is_guessed_of_columns_is_said(tmp_path):
    write_parquet(tmp_path / "train.parquet", [0, 1], fine_label=[0, 1], coarse_label=[1, 0])
    images = load_images(str(tmp_path))
    assert torch.equal(images.train.images, stack([0, 1]))
    remark = "train: column fine_label holds the labels, coarse_label is left unread (--label-column NAME)"
    assert images.problems == (remark,)
    chosen = load_images(str(tmp_path), label_column="coarse_label")
    assert torch.equal(chosen.train.images, stack([1, 0]))
    assert chosen.problems == ()
    with pytest.raises(InputError, match=r"no label column named kind \(columns: image, fine_label, coarse_label\)"):
        load_images(str(tmp_path), label_column="kind")


def test_columns_of_a_named_set_can_be_chosen(tmp_path):
    write_parquet(tmp_path / "cifar10" / "train.parquet", [0, 1], kind=[1, 0])
    with pytest.raises(InputError, match="no image column named img"):
        load_images("cifar10", data_dir=tmp_path)
    images = load_images("cifar10", data_dir=tmp_path, image_column="image", label_column="kind", image_size=6)
    assert torch.equal(images.train.images, stack([1, 0]))


@pytest.mark.parametrize("name", ["digits", "sample_source:images"])
def test_sources_without_columns_and_splits_say_so(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sample_source.py").write_text(
        "import numpy as np\ndef images():\n    return np.zeros((4, 6, 6), np.uint8), [0, 1, 0, 1]\n"
    )
    with pytest.raises(
        InputError, match=f"{name}: there are no columns or splits to choose; leave out data.test_split=x"
    ):
        load_images(name, test_split="x")


# --- the hub ------------------------------------------------------------------------------------------------


def table(numbers, **labels):
    features = {"image": datasets.Image()} | {name: datasets.ClassLabel(names=NAMES) for name in labels}
    cells = [{"bytes": png(n), "path": None} for n in numbers]
    return datasets.Dataset.from_dict({"image": cells, **labels}, features=datasets.Features(features))


@pytest.fixture
def hub(monkeypatch):
    """A repository with two configurations; yields what was asked for."""
    asked = []

    def load_dataset(*arguments):
        asked.append(arguments)
        if arguments == ("someone/pets",):
            raise ValueError("Config name is missing. Please pick one among the available configs: ['a', 'b']")
        tables = {"small": table([0, 1, 2, 3], label=[0, 1, 0, 1]), "tiny": table([4, 5], label=[0, 1])}
        return datasets.DatasetDict(tables | {"dev": table([6], label=[0])})

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_a_configuration_of_the_hub(hub):
    images = load_images("hf:someone/pets:b", train_split="small", test_split="tiny")
    assert hub == [("someone/pets", "b")]
    check(images)
    assert images.name == "hf:someone/pets:b"
    assert images.layout == "hf:someone/pets:b"
    assert images.problems == ("train: left unread next to the training split: dev",)


def test_the_hub_asks_for_a_configuration(hub):
    with pytest.raises(InputError, match=r"configs: \['a', 'b'\]; name one as hf:owner/name:configuration"):
        load_images("hf:someone/pets")


def test_splits_of_the_hub_are_named_if_none_fits(hub):
    with pytest.raises(InputError, match="no split 'train' for --train-split; found dev, small, tiny"):
        load_images("hf:someone/pets:a", train_split="train")


def test_label_columns_of_the_hub(monkeypatch):
    pets = table([0, 1], label=[0, 1], fine_label=[1, 0])
    monkeypatch.setattr(datasets, "load_dataset", lambda *_: {"train": pets})
    guessed = load_images("hf:someone/pets")
    assert torch.equal(guessed.train.images, stack([0, 1]))
    remark = "train: column label holds the labels, fine_label is left unread (--label-column NAME)"
    assert guessed.problems == (remark,)
    assert torch.equal(load_images("hf:someone/pets", label_column="fine_label").train.images, stack([1, 0]))
