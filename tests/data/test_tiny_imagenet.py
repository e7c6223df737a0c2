"""Tiny-ImageNet as unpacked, and with its validation images sorted."""

from __future__ import annotations

import pytest
import torch

from image_files import IDS, stack, write_image, write_train
from ncfm._utils.checks import InputError
from ncfm.data import load_images

VALIDATION = {1: 2, 2: 0, 3: 1}  # label by number of the image
TEST_UNREAD = "train: left unread: 1 image without labels in test"


def check(images):
    assert images.class_names == tuple(IDS)
    assert torch.equal(images.train.images, stack([0, 1, 2, 3, 4, 5]))
    assert torch.equal(images.test.images, stack([102, 103, 101]))
    assert images.test.labels.tolist() == [0, 1, 2]


def write_tiny(root):
    write_train(root / "train", below="images")
    for name in IDS:
        (root / "train" / name / f"{name}_boxes.txt").write_text("box\n")
    lines = []
    for number, label in VALIDATION.items():
        write_image(root / "val" / "images" / f"val_{number}.JPEG", 100 + number)
        lines.append(f"val_{number}.JPEG\t{IDS[label]}\t0\t32\t44\t62")
    (root / "val" / "val_annotations.txt").write_text("\n".join(lines) + "\n")
    write_image(root / "test" / "images" / "test_0.JPEG", 200)
    (root / "wnids.txt").write_text("\n".join(reversed(IDS)))
    (root / "words.txt").write_text(f"{IDS[0]}\ttench")
    return root


@pytest.mark.parametrize("folder", ["tiny-imagenet-200", "tiny-imagenet", "tiny-imagenet/tiny-imagenet-200"])
def test_tiny_imagenet(tmp_path, folder):
    root = write_tiny(tmp_path / folder)
    for images in (load_images(str(root)), load_images("tiny-imagenet", data_dir=tmp_path, image_size=6)):
        check(images)
        assert images.problems == ("train: 3 files left unread: 3 .txt", TEST_UNREAD)
        assert images.layout.startswith("Tiny-ImageNet")


def test_the_splits_of_tiny_imagenet_can_be_chosen(tmp_path):
    root = str(write_tiny(tmp_path))
    check(load_images(root, test_split="val"))
    with pytest.raises(InputError, match="no split 'test' for --test-split; found train, validation"):
        load_images(root, test_split="test")


@pytest.mark.parametrize("place", ["{name}/{file}", "{name}/images/{file}", "images/{name}/{file}"])
def test_validation_images_that_were_sorted_into_class_folders(tmp_path, place):
    """As training code often does; the empty folder ``images`` may stay."""
    root = write_tiny(tmp_path)
    for number, label in VALIDATION.items():
        path = root / "val" / "images" / f"val_{number}.JPEG"
        target = root / "val" / place.format(name=IDS[label], file=path.name)
        target.parent.mkdir(parents=True)
        path.rename(target)
    images = load_images(str(root))
    check(images)
    assert images.problems == ("train: 3 files left unread: 3 .txt", TEST_UNREAD)


def test_annotations_that_lack_an_image_are_refused(tmp_path):
    write_tiny(tmp_path)
    write_image(tmp_path / "val" / "images" / "val_9.JPEG", 9)
    with pytest.raises(InputError, match=r"has no class of the training folders for 1 image, such as val_9\.JPEG"):
        load_images(str(tmp_path))
    (tmp_path / "val" / "val_annotations.txt").write_text("val_1.JPEG\n")
    with pytest.raises(InputError, match="expected lines of a file name and a class, separated by a tab"):
        load_images(str(tmp_path))
