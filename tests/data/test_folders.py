"""Folders as people have them: names, links and places that are not what they should be."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from encoders import encoded
from ncfm._utils.checks import NcfmError
from ncfm.data import load_images


def flat(value):
    return encoded(np.full((2, 2), value, np.uint8))


def write(root, files):
    """Images of one grey level by path below the root."""
    for name, value in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(value if isinstance(value, bytes) else flat(value))
    return root


PETS = {"cat/0.png": 10, "cat/1.png": 11, "dog/0.png": 20, "dog/1.png": 21}


def levels(split):
    return split.images[:, 0, 0, 0].tolist()


def test_every_suffix_that_pillow_reads_is_read_and_the_others_are_counted(tmp_path):
    write(tmp_path, PETS | {"cat/x.txt": b"text", "dog/x.heic": b"?", "labels.csv": b"a,b"})
    for value, (fmt, name) in enumerate((("TGA", "x.tga"), ("JPEG", "x.jfif"), ("PPM", "x.pnm")), 100):
        (tmp_path / "cat" / name).write_bytes(encoded(np.full((2, 2), value, np.uint8), fmt))
    images = load_images(str(tmp_path))
    assert levels(images.train) == [10, 11, 101, 102, 100, 20, 21]
    assert images.problems == ("train: 3 files left unread: 1 .csv, 1 .heic, 1 .txt",)


def test_remarks_follow_the_files_although_the_images_are_cached(tmp_path):
    write(tmp_path, PETS)
    assert load_images(str(tmp_path)).problems == ()
    (tmp_path / "cat" / "new.txt").touch()
    assert load_images(str(tmp_path)).problems == ("train: 1 file left unread: 1 .txt",)


def test_each_split_says_what_it_leaves_unread(tmp_path):
    write(tmp_path / "train", PETS | {"cat/a.txt": b""})
    write(tmp_path / "test", PETS | {"dog/b.json": b""})
    write(tmp_path, {"docs/page.html": b"", "README": b""})
    assert load_images(str(tmp_path)).problems == (
        "train: 1 file left unread: 1 .txt",
        "train: 2 files left unread: 1 without suffix, 1 .html",
        "test: 1 file left unread: 1 .json",
    )


def test_a_test_folder_without_images_says_so(tmp_path):
    write(tmp_path / "train", PETS)
    write(tmp_path / "test", {"cat/a.heic": b""})
    images = load_images(str(tmp_path))
    assert images.test is None
    assert images.problems == (
        "test: left unread, since it has no images",
        "test: 1 file left unread: 1 .heic",
    )


def test_names_that_are_not_utf_8(tmp_path):
    write(tmp_path, PETS)
    folder = os.fsencode(tmp_path) + b"/caf\xe9"
    os.mkdir(folder)  # noqa: PTH102 - bytes
    with open(folder + b"/n\xe9.png", "wb") as file:  # noqa: PTH123
        file.write(flat(5))
    for _ in range(2):  # decoded, then from the cache
        images = load_images(str(tmp_path))
        assert images.class_names == (r"caf\xe9", "cat", "dog")
        assert levels(images.train) == [5, 10, 11, 20, 21]


def test_a_broken_link_is_an_unreadable_image(tmp_path):
    write(tmp_path, PETS)
    (tmp_path / "cat" / "gone.png").symlink_to("/nowhere/x.png")
    with pytest.raises(NcfmError) as caught:
        load_images(str(tmp_path))
    place = tmp_path / "cat" / "gone.png"
    assert str(caught.value).startswith(f"Could not read {place}: a link to /nowhere/x.png, which does not exist.")
    images = load_images(str(tmp_path), max_unreadable=0.2)
    assert levels(images.train) == [10, 11, 20, 21]
    assert "gone.png: a link to" in images.problems[0]


def test_a_linked_class_and_a_folder_called_like_an_image(tmp_path):
    write(tmp_path / "pets", PETS | {"dog/odd.png/2.png": 22})
    write(tmp_path / "elsewhere", {"0.png": 30})
    (tmp_path / "pets" / "emu").symlink_to(tmp_path / "elsewhere")
    images = load_images(str(tmp_path / "pets"))
    assert images.class_names == ("cat", "dog", "emu")
    assert levels(images.train) == [10, 11, 20, 21, 22, 30]
    assert images.problems == ("train: 1 image in folders below that of the class, such as dog/odd.png",)


@pytest.mark.parametrize("split", ["", "train/"])
def test_from_a_folder_too_high_the_right_one_is_found_and_said(tmp_path, split):
    write(tmp_path / "unpacked" / "pets", {f"{split}{name}": value for name, value in PETS.items()})
    images = load_images(str(tmp_path))
    assert images.class_names == ("cat", "dog")
    assert levels(images.train) == sorted(PETS.values())
    assert images.layout == "a folder for each class in pets in unpacked"


def test_images_without_class_folders_are_counted(tmp_path):
    write(tmp_path, {"0.png": 1, "1.png": 2})
    with pytest.raises(NcfmError, match=r"expected a folder per class .*, found no folders, but 2 images"):
        load_images(str(tmp_path))


def test_classes_of_other_files_are_answered_with_their_suffixes(tmp_path):
    write(tmp_path, {"cat/0.heic": b"", "cat/1.heic": b"", "dog/x.txt": b""})
    with pytest.raises(NcfmError, match=r"got none; 3 files left unread: 2 \.heic, 1 \.txt"):
        load_images(str(tmp_path))


def test_many_classes_without_images_are_one_remark(tmp_path):
    write(tmp_path, PETS)
    for number in range(1200):
        (tmp_path / f"none-{number:04}").mkdir()
    assert load_images(str(tmp_path)).problems == (
        "train: no images of 1,200 of 1,202 classes, left out: 'none-0000', 'none-0001', 'none-0002', 'none-0003', "
        "'none-0004' and 1,195 more",
    )


def test_the_test_images_have_the_scale_of_the_training_images(tmp_path):
    def sixteen(value):
        return encoded(np.full((2, 2), value, np.uint16))

    write(tmp_path / "train", {"cat/0.png": sixteen(0), "dog/0.png": sixteen(4000)})
    write(tmp_path / "test", {"cat/0.png": sixteen(257), "dog/0.png": sixteen(200)})
    images = load_images(str(tmp_path))
    assert levels(images.test) == [16, 12]
    assert torch.equal(images.train.images[1], torch.full((1, 2, 2), 249, dtype=torch.uint8))
    assert [problem.partition(":")[0] for problem in images.problems] == ["train", "test"]
