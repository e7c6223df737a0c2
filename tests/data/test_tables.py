"""Folders of images with CSV tables of their labels."""

from __future__ import annotations

import pytest
import torch

from image_files import stack, write_image
from ncfm._utils.checks import InputError
from ncfm.data import load_images

LABELS = ["dog", "cat", "dog", "cat"]  # of images 0 to 3; 4 and 5 are test images, a cat and a dog


def write_csv(path, *rows, header="image_id,label"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def write_images(folder, numbers, suffix=".jpg"):
    for number in numbers:
        write_image(folder / f"{number}{suffix}", number)


def check(images, *, test=True):
    assert images.class_names == ("cat", "dog")
    assert torch.equal(images.train.images, stack([1, 3, 0, 2]))
    assert images.train.counts.tolist() == [2, 2]
    assert (images.test is not None) == test
    if test:
        assert torch.equal(images.test.images, stack([4, 5]))


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("train", "{n}"),  # Kaggle: ids
        ("train", "{n}.jpg"),
        ("train_images", "{n}.jpg"),
        ("images", "{n}.jpg"),
        ("images", "images/{n}.jpg"),
        ("images", "./images/{n}.jpg"),
        ("images", "/kaggle/input/pets/images/{n}.jpg"),
        ("images", "images\\{n}.jpg"),
        (".", "{n}.jpg"),
    ],
)
@pytest.mark.parametrize("table", ["train.csv", "labels.csv", "train_labels.csv", "metadata.csv"])
def test_a_table_names_images_by_path_or_name(tmp_path, folder, name, table):
    write_images(tmp_path / folder, range(4))
    write_csv(tmp_path / table, *(f"{name.format(n=n)},{label}" for n, label in enumerate(LABELS)))
    images = load_images(str(tmp_path))
    check(images, test=False)
    assert images.layout == "images with tables"
    assert images.problems == ()


@pytest.mark.parametrize(
    "header",
    [
        "filename,label",
        "file_name,class",
        "Image ID,Category",
        "path,target",
        "img,labels",
        "id,ClassId",
        "name,class_name",
    ],
)
def test_usual_names_of_columns(tmp_path, header):
    write_images(tmp_path, range(4))
    write_csv(tmp_path / "train.csv", *(f"{n}.jpg,{label}" for n, label in enumerate(LABELS)), header=header)
    check(load_images(str(tmp_path)), test=False)


def test_tables_of_two_splits(tmp_path):
    """Train/0.png and Test/0.png have the same name: each table means its own folder."""
    for number, name in enumerate([0, 1, 2, 3, 0, 1]):
        write_image(tmp_path / ("train" if number < 4 else "test") / f"{name}.png", number)
    write_csv(tmp_path / "train.csv", *(f"{n}.png,{label}" for n, label in enumerate(LABELS)))
    write_csv(tmp_path / "test.csv", "0.png,cat", "1.png,dog")
    check(load_images(str(tmp_path)))


def test_metadata_in_the_folders_of_the_splits(tmp_path):
    """The layout of the datasets library."""
    write_images(tmp_path / "train", range(4))
    write_images(tmp_path / "test", [4, 5])
    rows = [f"{n}.jpg,{label}" for n, label in enumerate(LABELS)]
    write_csv(tmp_path / "train" / "metadata.csv", *rows, header="file_name,label")
    write_csv(tmp_path / "test" / "metadata.csv", "4.jpg,cat", "5.jpg,dog", header="file_name,label")
    check(load_images(str(tmp_path)))


@pytest.mark.parametrize("header", ["filepaths,labels,data set", "image,label,split", "Path,Class,Usage"])
def test_a_column_of_splits(tmp_path, header):
    write_images(tmp_path, range(6))
    rows = [f"{n}.jpg,{label},{'train' if n < 4 else 'test'}" for n, label in enumerate([*LABELS, "cat", "dog"])]
    write_csv(tmp_path / "all.csv", *rows, header=header)
    check(load_images(str(tmp_path)))


def test_what_has_no_labels_is_left_unread(tmp_path):
    """A competition: test images without labels, and an example of an answer."""
    write_images(tmp_path / "train", range(4))
    write_images(tmp_path / "test", [4, 5])
    write_csv(tmp_path / "train.csv", *(f"{n},{label}" for n, label in enumerate(LABELS)))
    write_csv(tmp_path / "test.csv", "4", "5", header="image_id")
    write_csv(tmp_path / "sample_submission.csv", "4,cat", "5,cat")
    images = load_images(str(tmp_path))
    check(images, test=False)
    assert images.problems == (
        "train: left unread since they have no labels: test.csv",
        "train: left unread: 2 images that no table names, in test",
    )


def test_a_label_column_of_another_name_is_said(tmp_path):
    """The dogs of Kaggle: labels.csv with id and breed."""
    write_images(tmp_path / "train", range(4))
    write_csv(tmp_path / "labels.csv", *(f"{n},{label}" for n, label in enumerate(LABELS)), header="id,breed")
    images = load_images(str(tmp_path))
    check(images, test=False)
    assert images.problems == ("train: column breed of labels.csv holds the labels (--label-column NAME)",)
    assert load_images(str(tmp_path), label_column="breed").problems == ()


def test_columns_can_be_chosen(tmp_path):
    write_images(tmp_path, range(4))
    rows = [f"x,{n},{label},{n % 3}" for n, label in enumerate(LABELS)]
    write_csv(tmp_path / "train.csv", *rows, header="label,photo_no,animal,age")
    with pytest.raises(InputError, match=r"not clear which column holds the images; choose one with --image-column"):
        load_images(str(tmp_path), label_column="animal")
    check(load_images(str(tmp_path), image_column="photo_no", label_column="animal"), test=False)
    by_age = load_images(str(tmp_path), image_column="photo_no", label_column="age")
    assert by_age.train.labels.tolist() == [0, 0, 1, 2]
    assert by_age.class_names == ("0", "1", "2")


def test_columns_that_are_not_clear_are_refused(tmp_path):
    write_images(tmp_path, range(4))
    rows = [f"{n},{label},{n}" for n, label in enumerate(LABELS)]
    write_csv(tmp_path / "train.csv", *rows, header="id,class,label")
    with pytest.raises(InputError, match=r"the labels may be column class or label; .*\(columns: id, class, label\)"):
        load_images(str(tmp_path))
    check(load_images(str(tmp_path), label_column="class"), test=False)
    write_csv(tmp_path / "train.csv", *rows, header="id,animal,age")
    with pytest.raises(InputError, match=r"not clear which column holds the labels; .*\(columns: id, animal, age\)"):
        load_images(str(tmp_path))


def test_row_numbers_of_pandas_are_no_labels(tmp_path):
    write_images(tmp_path, range(4))
    write_csv(tmp_path / "train.csv", *(f"{n},{n}.jpg,{label}" for n, label in enumerate(LABELS)), header=",file,kind")
    check(load_images(str(tmp_path)), test=False)


def test_tables_of_splits_can_be_chosen(tmp_path):
    write_images(tmp_path, range(6))
    for name, numbers in (("a", range(4)), ("b", (4, 5))):
        labels = [*LABELS, "cat", "dog"]
        write_csv(tmp_path / f"{name}.csv", *(f"{n}.jpg,{labels[n]}" for n in numbers))
    with pytest.raises(
        InputError, match=r"a\.csv, b\.csv are all of the train split; choose one \(--train-split a\.csv"
    ):
        load_images(str(tmp_path))
    check(load_images(str(tmp_path), train_split="a", test_split="b.csv"))


def write_class_folders(root):
    for number, label in enumerate(LABELS):
        write_image(root / "train" / label / f"{number}.png", number)


def test_tables_that_say_the_same_as_class_folders_are_read(tmp_path):
    """German traffic signs: folders of classes for training, and a table for both splits."""
    write_class_folders(tmp_path)
    write_images(tmp_path / "Test", [4, 5], ".png")
    write_csv(tmp_path / "Train.csv", *(f"train/{label}/{n}.png,{label}" for n, label in enumerate(LABELS)))
    write_csv(tmp_path / "Test.csv", "Test/4.png,cat", "Test/5.png,dog")
    check(load_images(str(tmp_path)))


def test_tables_that_contradict_class_folders_are_refused(tmp_path):
    write_class_folders(tmp_path)
    write_csv(tmp_path / "labels.csv", *(f"{n},{n % 3}" for n in range(4)))
    with pytest.raises(InputError, match=r"may be the folders cat, dog, or column label of labels\.csv; choose"):
        load_images(str(tmp_path))
    assert load_images(str(tmp_path), label_column="label").train.counts.tolist() == [2, 1, 1]


def test_other_tables_next_to_class_folders_are_left_unread(tmp_path):
    write_class_folders(tmp_path)
    write_csv(tmp_path / "sizes.csv", *(f"{n},6,6" for n in range(4)), header="image_id,width,height")
    images = load_images(str(tmp_path))
    check(images, test=False)
    assert images.layout == "a folder for each class"
    assert "train: 1 file left unread: 1 .csv" in images.problems


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["0,dog", "1,cat", "7,dog"], "names 1 of 3 images that do not exist, such as '7'; add them"),
        (["0,dog", "1,"], "'1' has no label in column 'label'"),
        (["0,dog", "1,cat", "0,cat"], "'0' has several labels; only one for each image"),
    ],
)
def test_faulty_rows_are_refused(tmp_path, rows, words):
    write_images(tmp_path, range(4))
    write_csv(tmp_path / "train.csv", *rows)
    with pytest.raises(InputError, match=words):
        load_images(str(tmp_path))


def test_tables_in_another_encoding_are_refused(tmp_path):
    write_images(tmp_path, range(2))
    (tmp_path / "train.csv").write_bytes("image_id,label\n0,Äpfel\n1,Birnen\n".encode("latin-1"))
    with pytest.raises(InputError, match=r"train\.csv: expected a table in UTF-8, found other bytes; save it as UTF-8"):
        load_images(str(tmp_path))


def test_other_tables_may_be_in_any_encoding(tmp_path):
    write_class_folders(tmp_path)
    (tmp_path / "notes.csv").write_bytes("who;what\nJürgen;café\n".encode("latin-1"))
    assert load_images(str(tmp_path)).train.counts.tolist() == [2, 2]


def test_a_name_of_several_images_is_refused(tmp_path):
    for folder in ("a", "b"):
        write_images(tmp_path / folder, range(4))
    write_csv(tmp_path / "train.csv", *(f"{n},{label}" for n, label in enumerate(LABELS)))
    with pytest.raises(InputError, match=r"'0' in a table may be a/0\.jpg or b/0\.jpg; give the path"):
        load_images(str(tmp_path))


def test_labels_that_change_are_read_again(tmp_path):
    write_images(tmp_path, range(4))
    write_csv(tmp_path / "train.csv", *(f"{n},{label}" for n, label in enumerate(LABELS)))
    check(load_images(str(tmp_path)), test=False)
    write_csv(tmp_path / "train.csv", *(f"{n},{label}" for n, label in enumerate(reversed(LABELS))))
    assert torch.equal(load_images(str(tmp_path)).train.images, stack([0, 2, 1, 3]))
