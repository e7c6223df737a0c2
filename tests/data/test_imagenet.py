"""ImageNet-1K as Kaggle and the development kit have it, and fast.ai's Imagenette."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.io import savemat

from image_files import IDS, stack, write_image, write_train
from ncfm._utils.checks import InputError
from ncfm.data import load_images
from ncfm.data.named import SUBSETS

VALIDATION = {1: 2, 2: 0, 3: 1}  # label by number of the image


def check(images, *, validation=True):
    assert images.class_names == tuple(IDS)
    assert torch.equal(images.train.images, stack([0, 1, 2, 3, 4, 5]))
    assert images.train.counts.tolist() == [2, 2, 2]
    if validation:
        assert torch.equal(images.test.images, stack([102, 103, 101]))
        assert images.test.labels.tolist() == [0, 1, 2]
    else:
        assert images.test is None


# --- ImageNet-1K --------------------------------------------------------------------------------------------


def write_ilsvrc(root):
    images = root / "ILSVRC" / "Data" / "CLS-LOC"
    write_train(images / "train")
    for number in VALIDATION:
        write_image(images / "val" / f"ILSVRC2012_val_{number:08d}.JPEG", 100 + number)
    write_image(images / "test" / "ILSVRC2012_test_00000001.JPEG", 200)
    return images


def write_solution(folder):
    rows = [f"ILSVRC2012_val_{n:08d},{IDS[c]} 1 2 3 4 {IDS[c]} 5 6 7 8 " for n, c in VALIDATION.items()]
    (folder / "LOC_val_solution.csv").write_text("ImageId,PredictionString\n" + "\n".join(reversed(rows)) + "\n")


TEST_UNREAD = "train: left unread: 1 image without labels in test"


@pytest.mark.parametrize("start", [".", "ILSVRC", "ILSVRC/Data", "ILSVRC/Data/CLS-LOC"])
def test_kaggles_list_of_labels(tmp_path, start):
    write_ilsvrc(tmp_path)
    write_solution(tmp_path)
    images = load_images(str(tmp_path / start))
    check(images)
    assert images.problems == (TEST_UNREAD,)


def test_the_list_of_the_development_kit(tmp_path):
    """Its numbers are not those of the sorted ids."""
    folder = write_ilsvrc(tmp_path)
    kit = tmp_path / "ILSVRC2012_devkit_t12" / "data"
    kit.mkdir(parents=True)
    order = [1, 2, 0]  # class of number 1, 2, 3
    kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O")]
    savemat(kit / "meta.mat", {"synsets": np.array([(i, IDS[c]) for i, c in enumerate(order, 1)], kinds)})
    truth = [order.index(c) + 1 for c in VALIDATION.values()]
    (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("\n".join(map(str, truth)) + "\n")
    check(load_images(str(folder)))
    check(load_images(str(tmp_path)))


def test_validation_images_without_labels_are_left_unread(tmp_path):
    write_ilsvrc(tmp_path)
    images = load_images(str(tmp_path))
    check(images, validation=False)
    assert images.layout == "ImageNet"
    assert images.problems == (
        "train: left unread: 3 images without labels in val",
        TEST_UNREAD,
    )


def test_flat_test_images_next_to_class_folders_are_left_unread(tmp_path):
    write_train(tmp_path / "train", ".png")
    write_image(tmp_path / "test" / "1.png", 9)
    images = load_images(str(tmp_path))
    check(images, validation=False)
    assert images.problems == (TEST_UNREAD,)
    assert images.layout == "class folders next to images without labels"


def test_labels_that_change_are_read_again(tmp_path):
    write_ilsvrc(tmp_path)
    write_solution(tmp_path)
    check(load_images(str(tmp_path)))
    path = tmp_path / "LOC_val_solution.csv"
    path.write_text(path.read_text().replace(f",{IDS[0]}", f",{IDS[1]}"))
    assert load_images(str(tmp_path)).test.labels.tolist() == [1, 1, 2]


def test_a_list_that_lacks_images_or_classes_is_refused(tmp_path):
    write_ilsvrc(tmp_path)
    write_solution(tmp_path)
    path = tmp_path / "LOC_val_solution.csv"
    text = path.read_text()
    path.write_text(text.replace("val_00000002", "val_00000009"))
    with pytest.raises(InputError, match=r"lacks 1 image, such as ILSVRC2012_val_00000002\.JPEG"):
        load_images(str(tmp_path))
    path.write_text(text.replace(IDS[1], "n09999999"))
    with pytest.raises(InputError, match="has 1 class without a training folder: n09999999"):
        load_images(str(tmp_path))


def test_a_subset_is_chosen_from_the_folder_of_kaggle(tmp_path):
    ids = sorted(wordnet_id for _, wordnet_id in SUBSETS["imagenette"].classes)
    images = tmp_path / "ILSVRC" / "Data" / "CLS-LOC"
    write_train(images / "train", ids=[*ids, "n99999999"])
    write_image(images / "val" / "ILSVRC2012_val_00000001.JPEG", 100)
    (tmp_path / "LOC_val_solution.csv").write_text(f"ImageId,PredictionString\nILSVRC2012_val_00000001,{ids[3]} 1 2\n")
    found = load_images("imagenette", data_dir=tmp_path, image_size=6)
    assert found.class_names == tuple(ids)
    assert torch.equal(found.train.images, stack(list(range(20))))
    assert found.test.labels.tolist() == [3]


# --- Imagenette ---------------------------------------------------------------------------------------------


def write_imagenette(root):
    write_train(root / "train")
    for number, label in VALIDATION.items():
        write_image(root / "val" / IDS[label] / f"{number}.JPEG", 100 + number)
    (root / "noisy_imagenette.csv").write_text("path,noisy_labels_0\ntrain/n01440764/x.JPEG,n02102040\n")
    return root


def test_imagenette_as_fast_ai_has_it(tmp_path):
    root = write_imagenette(tmp_path / "imagenette2-160")
    for images in (load_images(str(root)), load_images("imagenette", data_dir=tmp_path, image_size=6)):
        check(images)
        assert images.problems == ("train: 1 file left unread: 1 .csv",)
        assert images.layout == "class folders of fast.ai"


def test_other_sizes_of_imagenette_are_left_unread(tmp_path):
    for name in ("imagenette2-160", "imagenette2-320"):
        write_imagenette(tmp_path / name)
    images = load_images("imagenette", data_dir=tmp_path, image_size=6)
    assert "train: left unread next to imagenette2-160: imagenette2-320" in images.problems
