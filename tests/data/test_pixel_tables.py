"""Tables of pixels, as Kaggle has MNIST and Fashion-MNIST."""

from __future__ import annotations

import pytest
import torch

from image_files import picture, stack
from ncfm._utils.checks import InputError
from ncfm.data import load_images

SIDE = 6
FORMS = {
    "kaggle": [f"pixel{i}" for i in range(SIDE * SIDE)],
    "fashion": [f"pixel{i}" for i in range(1, SIDE * SIDE + 1)],
    "rows x columns": [f"{r}x{c}" for r in range(1, SIDE + 1) for c in range(1, SIDE + 1)],
}


def write_table(path, numbers, names, *, label="label"):
    """Picture n with the label n % 2, or none."""
    lines = [",".join([label, *names] if label else names)]
    for number in numbers:
        values = map(str, picture(number, SIDE, grey=True).ravel())
        lines.append(",".join([str(number % 2), *values] if label else values))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("names", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("stems", [("train", "test"), ("mnist_train", "mnist_test")])
def test_tables_of_two_splits(tmp_path, names, stems):
    for stem, numbers in zip(stems, ([0, 1, 2, 3], [4, 5]), strict=True):
        write_table(tmp_path / f"{stem}.csv", numbers, names)
    images = load_images(str(tmp_path))
    assert images.class_names == ("0", "1")
    assert torch.equal(images.train.images, stack([0, 2, 1, 3], SIDE, grey=True))
    assert torch.equal(images.test.images, stack([4, 5], SIDE, grey=True))
    assert images.problems == ()
    assert images.layout == "tables of pixels"


def test_a_test_table_without_labels_is_left_unread(tmp_path):
    write_table(tmp_path / "train.csv", [0, 1], FORMS["kaggle"])
    write_table(tmp_path / "test.csv", [2, 3], FORMS["kaggle"], label=None)
    (tmp_path / "sample_submission.csv").write_text("ImageId,Label\n1,0\n")
    images = load_images(str(tmp_path))
    assert images.test is None
    assert images.problems == ("train: left unread since there are no labels: test.csv",)


def test_one_table_by_path_and_by_name(tmp_path):
    path = write_table(tmp_path / "mnist" / "train.csv", [0, 1], FORMS["kaggle"])
    assert torch.equal(load_images(str(path)).train.images, stack([0, 1], SIDE, grey=True))
    named = load_images("mnist", data_dir=tmp_path, image_size=SIDE)
    assert torch.equal(named.train.images, stack([0, 1], SIDE, grey=True))


def test_the_label_column_can_be_chosen(tmp_path):
    path = write_table(tmp_path / "train.csv", [0, 1], FORMS["kaggle"], label="digit")
    with pytest.raises(InputError, match=r"no label column .*\(columns: digit\).* --label-column NAME"):
        load_images(str(path))
    assert len(load_images(str(path), label_column="digit").train) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda text: text.replace("\n0,", "\n,", 1), "expected a number in every cell"),
        (lambda text: text.replace("\n0,", "\nzero,", 1), "Could not read .* as whole numbers"),
        (lambda text: text.replace("\n0,", "\n0,256", 1), "Could not read .* pixels from 0 to 255"),
        (lambda text: text.replace(",pixel35", ",other"), "square grey images, found 35 columns"),
    ],
)
def test_damaged_tables_are_reported(tmp_path, change, words):
    path = write_table(tmp_path / "train.csv", [0, 1], FORMS["kaggle"])
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError, match=words):
        load_images(str(path))


def test_a_table_without_pixels_is_no_layout(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="is not a file of a known layout"):
        load_images(str(tmp_path / "x.csv"))
