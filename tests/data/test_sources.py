"""Sources of images: parquet files, folders, names, the hub; and everything that can be wrong with them."""

from __future__ import annotations

import gzip
import io
import json
import struct
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ncfm._utils.checks import NcfmError
from ncfm.data import decoding, images_of, load_images
from ncfm.data.choice import Choice
from ncfm.data.decoding import CHUNK
from ncfm.data.idx import read_idx
from ncfm.data.named import SUBSETS
from ncfm.data.parquet import read_parquets

CLASSES = ("cat", "dog", "emu")
SIZE = 6


def decode_all(files, **options):
    """The decoded images alone."""
    return decoding.decode_all(files, **options).images


def pixels(index, *, size=SIZE, channels=3):
    """A random picture, known by its number."""
    shape = (size, size, 3) if channels == 3 else (size, size)
    return np.random.default_rng(index).integers(0, 256, shape, dtype=np.uint8)


def encoded(array, fmt="PNG", **options):
    """The bytes of an array or of a Pillow image in a file format."""
    buffer = io.BytesIO()
    image = array if isinstance(array, Image.Image) else Image.fromarray(array)
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


def write_parquet(path, images, labels, *, image="image", label="label", names=CLASSES, struct=True, others=None):
    """A parquet file as Hugging Face writes it: a struct of bytes and path, names in the schema."""
    cells = [{"bytes": b, "path": f"{i}.png"} if struct else b for i, b in enumerate(images)]
    table = pa.table({image: cells, label: pa.array(labels), **(others or {})})
    if names is not None:
        features = {image: {"_type": "Image"}, label: {"names": list(names), "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    return path


def write_folder(root, images, labels, *, names=CLASSES, suffix=".png"):
    """An image folder with a folder per class."""
    for name in names:
        (root / name).mkdir(parents=True, exist_ok=True)
    for i, (data, label) in enumerate(zip(images, labels, strict=True)):
        (root / names[label] / f"{i:03d}{suffix}").write_bytes(data)
    return root


LABELS = [2, 0, 1, 1, 0, 2, 2]
PNGS = [encoded(pixels(i)) for i in range(len(LABELS))]
TEST_LABELS = [1, 0, 2]
TEST_PNGS = [encoded(pixels(100 + i)) for i in range(len(TEST_LABELS))]


def expected_images(labels, first=0):
    """The pictures sorted by class, in their own order within a class, as (n, c, h, w)."""
    order = sorted(range(len(labels)), key=lambda i: labels[i])
    return torch.from_numpy(np.stack([pixels(first + i) for i in order])).permute(0, 3, 1, 2)


def check_is_the_standard_set(images, *, with_test):
    assert images.class_names == CLASSES
    assert images.train.labels.tolist() == sorted(LABELS)
    assert torch.equal(images.train.images, expected_images(LABELS))
    assert images.train.images.is_contiguous()
    assert (images.test is not None) == with_test
    if with_test:
        assert images.test.labels.tolist() == sorted(TEST_LABELS)
        assert torch.equal(images.test.images, expected_images(TEST_LABELS, first=100))


# --- parquet ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("struct", [True, False], ids=["struct", "plain bytes"])
@pytest.mark.parametrize(
    ("image", "label"),
    [("image", "label"), ("img", "label"), ("img", "fine_label"), ("image", "labels")],
)
def test_parquet_folder(tmp_path, struct, image, label):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS, struct=struct, image=image, label=label)
    write_parquet(tmp_path / "test.parquet", TEST_PNGS, TEST_LABELS, struct=struct, image=image, label=label)
    check_is_the_standard_set(load_images(str(tmp_path)), with_test=True)


def test_one_parquet_file_is_a_training_split(tmp_path):
    path = write_parquet(tmp_path / "pets.parquet", PNGS, LABELS)
    images = load_images(str(path))
    check_is_the_standard_set(images, with_test=False)
    with pytest.raises(NcfmError, match="no test split"):
        images.require_test()


def test_shards_are_joined_in_the_order_of_their_names(tmp_path):
    write_parquet(tmp_path / "train-00001-of-00002.parquet", PNGS[4:], LABELS[4:])
    write_parquet(tmp_path / "train-00000-of-00002.parquet", PNGS[:4], LABELS[:4])
    write_parquet(tmp_path / "validation-00000-of-00001.parquet", TEST_PNGS, TEST_LABELS)
    check_is_the_standard_set(load_images(str(tmp_path)), with_test=True)


@pytest.mark.parametrize(
    ("file", "split"),
    [
        ("train-00000-of-00001", "train"),
        ("Training", "train"),
        ("mydata_train", "train"),
        ("values", "unread"),  # begins with val
        ("testimonies", "unread"),
        ("0001", "unread"),
        ("extra-00000-of-00001", "unread"),
        ("unsupervised", "unread"),
        ("test_set", "test"),
        ("mydata_test", "test"),
        ("data-test", "test"),
        ("testing", "test"),
        ("MyTestSet", "test"),
        ("testset", "test"),
        ("val", "test"),
        ("val2017", "test"),
        ("valid.1", "test"),
        ("validation-00000-of-00002", "test"),
        ("dev", "test"),
        ("eval", "test"),
    ],
)
def test_a_split_is_a_word_of_a_file_name(tmp_path, file, split):
    write_parquet(tmp_path / "train-0.parquet", PNGS, LABELS)
    write_parquet(tmp_path / f"{file}.parquet", TEST_PNGS, TEST_LABELS)
    images = load_images(str(tmp_path))
    assert (images.test is not None) == (split == "test")
    assert len(images.train) == len(LABELS) + (len(TEST_LABELS) if split == "train" else 0)
    remark = f"train: left unread next to the training files: {file}.parquet"
    assert images.problems == ((remark,) if split == "unread" else ())


def test_files_that_name_no_split_are_the_training_split(tmp_path):
    write_parquet(tmp_path / "0001.parquet", PNGS[:4], LABELS[:4])
    write_parquet(tmp_path / "values.parquet", PNGS[4:], LABELS[4:])
    write_parquet(tmp_path / "pets_test.parquet", TEST_PNGS, TEST_LABELS)
    check_is_the_standard_set(load_images(str(tmp_path)), with_test=True)


def test_a_file_of_several_splits_is_refused(tmp_path):
    write_parquet(tmp_path / "train_test.parquet", PNGS, LABELS)
    with pytest.raises(NcfmError, match=r"'train_test\.parquet' may be train or test; rename it"):
        load_images(str(tmp_path))


def test_shards_that_name_their_classes_differently_are_refused(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "train-1.parquet", PNGS, LABELS, names=CLASSES[::-1])
    with pytest.raises(NcfmError, match=r"got cat, dog, emu in train-0\.parquet and emu, dog, cat in train-1"):
        load_images(str(tmp_path))


def test_a_test_split_without_labels_is_none(tmp_path):
    """The test split of the hub's imagenet-1k has the label -1 throughout."""
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "validation.parquet", TEST_PNGS, TEST_LABELS)
    write_parquet(tmp_path / "test.parquet", PNGS, [-1] * len(PNGS))
    images = load_images(str(tmp_path))
    check_is_the_standard_set(images, with_test=True)
    assert images.problems == ("test: left unread, since its images have no labels",)


def test_test_goes_before_validation(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "validation.parquet", PNGS[:3], LABELS[:3])
    write_parquet(tmp_path / "test.parquet", TEST_PNGS, TEST_LABELS)
    images = load_images(str(tmp_path))
    check_is_the_standard_set(images, with_test=True)
    assert images.problems == ("validation: left unread, since there is another split to test on",)


def test_without_names_classes_are_numbered_over_both_splits(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS, names=None)
    # No test image of class 2.
    write_parquet(tmp_path / "test.parquet", TEST_PNGS[:2], TEST_LABELS[:2], names=None)
    images = load_images(str(tmp_path))
    assert images.class_names == ("0", "1", "2")
    assert images.test.counts.tolist() == [1, 1, 0]


def test_a_file_of_test_images_alone_is_refused(tmp_path):
    path = write_parquet(tmp_path / "test-0.parquet", PNGS, LABELS)
    with pytest.raises(NcfmError, match="expected a train split, found test"):
        load_images(str(path))


def test_splits_that_name_different_classes_are_refused(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "test.parquet", TEST_PNGS, TEST_LABELS, names=("cat", "dog", "gnu"))
    with pytest.raises(NcfmError, match="same classes, but only one of them has emu, gnu"):
        load_images(str(tmp_path))
    write_parquet(tmp_path / "test.parquet", TEST_PNGS, TEST_LABELS, names=("dog", "cat", "emu"))
    with pytest.raises(NcfmError, match="in another order"):
        load_images(str(tmp_path))


def test_columns_are_asked_for_by_name(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", PNGS, LABELS, image="scan")
    with pytest.raises(NcfmError, match=r"no image column .*\(columns: scan, label\); rename it to image"):
        load_images(str(path))
    path = write_parquet(tmp_path / "x.parquet", PNGS, LABELS, label="kind")
    with pytest.raises(NcfmError, match=r"no label column .*\(columns: image, kind\)"):
        load_images(str(path))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([*LABELS[:-2], None, None], r"2 of 7 rows have no label \(row 5, 6, from 0\); remove them"),
        ([0.5] * len(LABELS), r"'label' must hold integer class indices, or names, got '0\.5' \(float\) in row 0"),
        ([[0, 1]] * len(LABELS), r"'label' must hold .*, got '\[0, 1\]' \(list\) in row 0"),
    ],
    ids=["missing", "floats", "lists"],
)
def test_labels_must_be_whole_numbers_without_gaps(tmp_path, labels, message):
    path = write_parquet(tmp_path / "x.parquet", PNGS, labels)
    with pytest.raises(NcfmError, match=message):
        load_images(str(path))


def test_labels_may_be_names(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, [CLASSES[i] for i in LABELS], names=None)
    write_parquet(tmp_path / "test.parquet", TEST_PNGS, [CLASSES[i] for i in TEST_LABELS], names=None)
    check_is_the_standard_set(load_images(str(tmp_path)), with_test=True)


@pytest.mark.parametrize("label", [3, -1])
def test_labels_must_have_a_name(tmp_path, label):
    path = write_parquet(tmp_path / "x.parquet", PNGS, [*LABELS[:-1], label])
    with pytest.raises(NcfmError, match=r"must lie in 0\.\.2 for 3 classes"):
        load_images(str(path))


@pytest.mark.parametrize("struct", [True, False])
def test_rows_without_an_image_are_counted_and_named(tmp_path, struct):
    path = write_parquet(tmp_path / "x.parquet", [*PNGS[:3], None, None, *PNGS[5:]], LABELS, struct=struct)
    if struct:  # of which the cell itself is missing
        cells = [{"bytes": data, "path": None} if i not in (3, 4) else None for i, data in enumerate(PNGS)]
        pq.write_table(pa.table({"image": cells, "label": LABELS}), path)
    with pytest.raises(NcfmError) as caught:
        load_images(str(path))
    message = str(caught.value)
    assert "Could not read 2 of 7 images" in message
    for row in (3, 4):
        assert f"image number {row} of {path} (train): it holds no encoded image (null or empty)" in message
    assert len(load_images(str(path), max_unreadable=0.3).train) == 5


def test_a_cell_of_numbers_is_no_image(tmp_path):
    path = write_parquet(tmp_path / "x.parquet", [1, 2], [0, 1], struct=False)
    with pytest.raises(NcfmError, match=r"x\.parquet: row 0 holds no encoded image \(expected bytes, got int\)"):
        load_images(str(path))


def test_a_struct_may_name_a_file_instead(tmp_path):
    file = tmp_path / "one.png"
    file.write_bytes(PNGS[0])
    cells = [{"bytes": None, "path": str(file)}, {"bytes": PNGS[1], "path": "nowhere.png"}]
    pq.write_table(pa.table({"image": cells, "label": [0, 1]}), tmp_path / "x.parquet")
    images = load_images(str(tmp_path / "x.parquet"))
    assert torch.equal(images.train.images[0], expected_images([0])[0])


def test_a_damaged_parquet_file_is_named(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"no parquet")
    with pytest.raises(NcfmError, match=r"Could not read .*x\.parquet as parquet"):
        load_images(str(tmp_path / "x.parquet"))


def test_the_damaged_one_of_several_files_is_named_once(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", PNGS, LABELS)
    (tmp_path / "train-1.parquet").mkdir()
    with pytest.raises(NcfmError) as caught:
        read_parquets({path.name: path for path in sorted(tmp_path.iterdir())}, (None, None), Choice())
    assert str(caught.value).startswith(f"Could not read {tmp_path}/train-1.parquet as parquet: ")
    assert str(caught.value).count(str(tmp_path)) == 1
    assert str(caught.value).endswith(" directory.")
    (tmp_path / "train-1.parquet").rmdir()
    content = bytearray((tmp_path / "train-0.parquet").read_bytes())
    content[10:100] = bytes(90)
    (tmp_path / "train-1.parquet").write_bytes(content)
    with pytest.raises(NcfmError, match=r"Could not read [^ ]*/train-1\.parquet as parquet: .*[^.]\.$"):
        load_images(str(tmp_path))


def test_shards_with_other_columns_are_refused(tmp_path):
    write_parquet(tmp_path / "train-0.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "train-1.parquet", PNGS, LABELS, image="img")
    with pytest.raises(
        NcfmError,
        match=r"train-1\.parquet: expected the columns of .*\(image, label\), found img, l",
    ):
        load_images(str(tmp_path))


def test_an_empty_parquet_file_is_refused(tmp_path):
    table = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(NcfmError, match=r"at least one image in .*x\.parquet \(train\), got none"):
        load_images(str(tmp_path / "x.parquet"))


def test_an_empty_test_file_is_no_test_split(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS, struct=False, names=None)
    table = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())})
    pq.write_table(table, tmp_path / "test.parquet")
    assert load_images(str(tmp_path)).test is None


# --- folders ----------------------------------------------------------------------------------------------


def test_flat_folder(tmp_path):
    check_is_the_standard_set(load_images(str(write_folder(tmp_path, PNGS, LABELS))), with_test=False)


@pytest.mark.parametrize(
    ("train", "test"),
    [("train", "test"), ("train", "val"), ("Train", "Test"), ("training", "validation"), ("train", "valid")],
)
def test_folder_with_splits(tmp_path, train, test):
    write_folder(tmp_path / train, PNGS, LABELS)
    write_folder(tmp_path / test, TEST_PNGS, TEST_LABELS)
    check_is_the_standard_set(load_images(str(tmp_path)), with_test=True)


def test_folder_and_parquet_give_the_same_bits(tmp_path):
    folder = write_folder(tmp_path / "folder", PNGS, LABELS)
    file = write_parquet(tmp_path / "x.parquet", PNGS, LABELS)
    a, b = load_images(str(folder)), load_images(str(file))
    assert torch.equal(a.train.images, b.train.images)
    assert a.fingerprint == b.fingerprint


@pytest.mark.parametrize(("fmt", "suffix"), [("PNG", ".PNG"), ("BMP", ".bmp"), ("WEBP", ".webp"), ("TIFF", ".tif")])
def test_lossless_formats_give_the_same_bits(tmp_path, fmt, suffix):
    options = {"lossless": True} if fmt == "WEBP" else {}
    files = [encoded(pixels(i), fmt, **options) for i in range(len(LABELS))]
    check_is_the_standard_set(load_images(str(write_folder(tmp_path, files, LABELS, suffix=suffix))), with_test=False)


def test_hidden_files_and_other_files_are_passed_over(tmp_path):
    write_folder(tmp_path, PNGS, LABELS)
    (tmp_path / "cat" / "._001.png").write_bytes(b"left by an archive")
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "cat" / ".checkpoints").mkdir()
    (tmp_path / "cat" / ".checkpoints" / "copy.png").write_bytes(PNGS[0])
    (tmp_path / ".git").mkdir()
    (tmp_path / "readme.md").write_text("not a class")
    check_is_the_standard_set(load_images(str(tmp_path)), with_test=False)


def test_images_in_folders_below_a_class_belong_to_it(tmp_path):
    write_folder(tmp_path, PNGS, LABELS)
    (tmp_path / "emu" / "more").mkdir()
    (tmp_path / "emu" / "more" / "x.png").write_bytes(PNGS[0])
    assert load_images(str(tmp_path)).train.counts.tolist() == [2, 2, 4]


def test_train_may_be_a_class(tmp_path):
    """CIFAR-100 has a class of trains."""
    names = ("bus", "car", "train")
    write_folder(tmp_path, PNGS, LABELS, names=names)
    assert load_images(str(tmp_path)).class_names == names


def test_classes_without_images_are_dropped(tmp_path):
    write_folder(tmp_path / "train", PNGS, LABELS, names=CLASSES)
    write_folder(tmp_path / "test", TEST_PNGS, TEST_LABELS, names=CLASSES)
    for split in ("train", "test"):
        (tmp_path / split / "bee").mkdir()
    check_is_the_standard_set(load_images(str(tmp_path)), with_test=True)


def test_class_names_of_a_parquet_file_without_images_are_dropped(tmp_path):
    names = ("ant", "cat", "cow", "dog", "emu", "fox")
    labels = [names.index(CLASSES[label]) for label in LABELS]
    check_is_the_standard_set(
        load_images(str(write_parquet(tmp_path / "x.parquet", PNGS, labels, names=names))), with_test=False
    )


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(NcfmError, match=r"expected a folder per class .*found no folders"):
        load_images(str(tmp_path))


def test_class_folders_without_images_are_refused(tmp_path):
    write_folder(tmp_path, [], [])
    with pytest.raises(NcfmError, match=r"at least one image in the class folders of .*, got none; convert the files"):
        load_images(str(tmp_path))


def test_split_folders_without_class_folders_are_refused(tmp_path):
    for split in ("train", "test"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "1.png").write_bytes(PNGS[0])
    with pytest.raises(NcfmError, match="expected a folder per class in test, train, found none in them"):
        load_images(str(tmp_path))


@pytest.mark.parametrize(
    ("train", "test"),
    [("training_set", "test_set"), ("train_images", "test_images"), ("Train", "Eval"), ("train", "dev")],
)
def test_folders_of_splits_are_known_by_their_words(tmp_path, train, test):
    write_folder(tmp_path / train, PNGS, LABELS)
    write_folder(tmp_path / test, TEST_PNGS, TEST_LABELS)
    write_folder(tmp_path / "extra", PNGS, LABELS)
    (tmp_path / "samples").mkdir()
    (tmp_path / "samples" / "1.png").write_bytes(PNGS[0])
    (tmp_path / "docs").mkdir()
    images = load_images(str(tmp_path))
    check_is_the_standard_set(images, with_test=True)
    assert images.problems == ("train: left unread next to the training folder: extra, samples",)


def test_extra_images_are_no_class_beside_a_training_folder(tmp_path):
    write_folder(tmp_path / "train", PNGS, LABELS)
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra" / "1.png").write_bytes(PNGS[0])
    images = load_images(str(tmp_path))
    check_is_the_standard_set(images, with_test=False)
    assert images.problems[0] == "train: left unread next to the training folder: extra"


def test_a_training_folder_among_classes_is_refused(tmp_path):
    """Photos of buses, cars and trains, sorted by day: the days of the trains are no classes."""
    for name in ("bus", "car", "train"):
        write_folder(tmp_path / name, PNGS, LABELS)
    with pytest.raises(NcfmError, match=r"train may be the training split, or a class like bus, car; .* move"):
        load_images(str(tmp_path))


def test_two_folders_of_a_split_are_refused(tmp_path):
    for name in ("train", "train2"):
        write_folder(tmp_path / name, PNGS, LABELS)
    with pytest.raises(NcfmError, match="train, train2 are all folders of the train split; keep one"):
        load_images(str(tmp_path))


def test_a_test_folder_alone_is_a_class(tmp_path):
    """No train folder: all folders are classes, and one class is too few. Its own folders may be meant."""
    write_folder(tmp_path / "test", PNGS, LABELS)
    with pytest.raises(NcfmError, match=r"a folder per class, but cat, dog, emu lie in .*/test; give that path"):
        load_images(str(tmp_path))


def test_a_single_class_is_refused(tmp_path):
    write_folder(tmp_path, PNGS, [1] * len(PNGS))
    with pytest.raises(NcfmError, match="at least 2 classes, got 1"):
        load_images(str(tmp_path))


# --- images -----------------------------------------------------------------------------------------------


def test_an_unreadable_image_is_named(tmp_path):
    folder = write_folder(tmp_path / "folder", [*PNGS[:3], PNGS[3][:40], *PNGS[4:]], LABELS)
    with pytest.raises(NcfmError, match=r"Could not read .*dog/003\.png: .*Remove or repair"):
        load_images(str(folder))
    file = write_parquet(tmp_path / "x.parquet", [*PNGS[:3], b"no image", *PNGS[4:]], LABELS)
    with pytest.raises(NcfmError, match=r"Could not read image number 3 of .*x\.parquet \(train\)"):
        load_images(str(file))


def test_order_and_numbers_hold_over_many_images():
    """More than one chunk of work for the threads."""
    count = 2 * CHUNK + 5
    files = [encoded(np.full((2, 2), i, dtype=np.uint8)) for i in range(count)]
    assert decode_all(files)[:, 0, 0, 0].tolist() == list(range(count))
    files[CHUNK + 7] = b"no image"
    with pytest.raises(NcfmError, match=f"image number {CHUNK + 7} of"):
        decode_all(files)


def test_images_of_different_sizes_need_a_size(tmp_path):
    files = [*PNGS[:-1], encoded(pixels(0, size=9))]
    folder = write_folder(tmp_path, files, LABELS)
    with pytest.raises(NcfmError, match=r"2 different sizes \(6x6, 9x9\).*image_size"):
        load_images(str(folder))
    images = load_images(str(folder), image_size=SIZE)
    assert images.image_size == SIZE
    # Those that have the size already are not touched.
    assert torch.equal(images.train.images[:-1], expected_images(LABELS)[:-1])


def test_images_that_are_not_square_need_a_size_and_are_cropped_at_the_centre():
    wide = np.zeros((4, 8), dtype=np.uint8)
    wide[:, 2:6] = 200
    with pytest.raises(NcfmError, match=r"not square \(8x4\)"):
        decode_all([encoded(wide)])
    assert (decode_all([encoded(wide)], image_size=4) == 200).all()
    assert (decode_all([encoded(wide.T)], image_size=4) == 200).all()
    assert decode_all([encoded(wide)], image_size=2).shape == (1, 1, 2, 2)


def test_test_images_of_another_size_need_a_size(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "test.parquet", [encoded(pixels(0, size=9))] * 3, TEST_LABELS)
    with pytest.raises(NcfmError, match=r"train images have 6 px and test images 9 px.*image_size"):
        load_images(str(tmp_path))
    assert load_images(str(tmp_path), image_size=5).test.images.shape[-1] == 5


@pytest.mark.parametrize("size", [0, -3])
def test_a_size_must_be_positive(size):
    with pytest.raises(NcfmError, match="image_size must be at least 1"):
        decode_all(PNGS, image_size=size)


@pytest.mark.parametrize(
    ("channels", "message"), [(0, "channels must be at least 1"), (2, "Could not make 2 channels"), (4, "read as RGB")]
)
def test_files_have_one_or_three_channels_unless_they_store_others(channels, message):
    with pytest.raises(NcfmError, match=message):
        decode_all(PNGS, channels=channels)


def test_grey_images_stay_grey_unless_asked_or_mixed():
    grey = pixels(0, channels=1)
    alone = decode_all([encoded(grey)])
    assert torch.equal(alone[0, 0], torch.from_numpy(grey))
    mixed = decode_all([encoded(grey), PNGS[1]])
    assert mixed.shape == (2, 3, SIZE, SIZE)
    assert torch.equal(mixed[0], torch.from_numpy(grey).expand(3, -1, -1))
    assert torch.equal(decode_all([encoded(grey)], channels=3)[0], mixed[0])


def test_colour_becomes_luma_when_grey_is_asked():
    levels = pixels(5).astype(float) @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    got = decode_all([encoded(pixels(5))], channels=1)[0, 0].numpy()
    assert np.abs(got - levels).max() <= 1


def test_test_images_follow_the_training_images_in_channels(tmp_path):
    write_parquet(tmp_path / "train.parquet", PNGS, LABELS)
    greys = [encoded(pixels(i, channels=1)) for i in range(3)]
    write_parquet(tmp_path / "test.parquet", greys, TEST_LABELS)
    assert load_images(str(tmp_path)).test.images.shape == (3, 3, SIZE, SIZE)


def as_tensor(array):
    """(h, w) or (h, w, c) as (c, h, w)."""
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)


GREY = pixels(7, channels=1)
COLOUR = pixels(8)
ALPHA = pixels(9, channels=1)


def with_alpha(array):
    image = Image.fromarray(array)
    image.putalpha(Image.fromarray(ALPHA))
    return image


def over_white(array, alpha=ALPHA):
    """An image drawn over white by the formula of "over", in floats."""
    alpha = (alpha if array.ndim == 2 else alpha[..., None]) / 255
    return np.rint(array * alpha + 255 * (1 - alpha)).astype(np.uint8)


def palette(array, levels=5):
    """An image of few colours with its palette, and its colours."""
    indices = array % levels
    colours = pixels(1)[0, :levels]
    image = Image.fromarray(indices.astype(np.uint8), mode=None)
    image.putpalette(colours.flatten().tolist())
    return image, colours[indices]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encoded(GREY), GREY, id="L"),
        pytest.param(encoded(with_alpha(GREY)), over_white(GREY), id="LA"),
        pytest.param(encoded(GREY > 127), np.where(GREY > 127, 255, 0).astype(np.uint8), id="1 bit"),
        pytest.param(encoded(COLOUR), COLOUR, id="RGB"),
        pytest.param(encoded(with_alpha(COLOUR)), over_white(COLOUR), id="RGBA"),
        pytest.param(encoded(palette(GREY)[0]), palette(GREY)[1], id="palette"),
        pytest.param(
            encoded(palette(GREY)[0], transparency=bytes([0, 128, 255])),
            over_white(palette(GREY)[1], np.array([0, 128, 255, 255, 255])[GREY % 5]),
            id="palette with transparency",
        ),
        pytest.param(encoded(palette(GREY)[0], "GIF"), palette(GREY)[1], id="GIF"),
    ],
)
def test_every_mode_becomes_8_bit_grey_or_colour(data, expected):
    assert torch.equal(decode_all([data])[0], as_tensor(expected))


SIXTEEN = np.array([[0, 1, 128, 129], [256, 257, 32896, 33000], [65535, 65407, 65406, 40000], [5, 6, 7, 8]])


@pytest.mark.parametrize("fmt", ["PNG", "TIFF", "PPM"])
def test_16_bits_are_scaled_not_clipped(fmt):
    """Pillow's own conversion to 8 bits clips at 255: nearly all of such an image would be white."""
    data = encoded(SIXTEEN.astype(np.uint16), fmt)
    expected = np.rint(SIXTEEN * 255 / 65535).astype(np.uint8)
    assert torch.equal(decode_all([data])[0], as_tensor(expected))


def test_8_bits_stored_in_16_come_back_exactly():
    assert torch.equal(decode_all([encoded(GREY.astype(np.uint16) * 257)])[0], as_tensor(GREY))


@pytest.mark.parametrize(
    "array",
    [GREY.astype(np.float32), GREY.astype(np.int32) * 1000 + 1, -GREY.astype(np.int32) - 1],
    ids=["float", "32 bits", "negative"],
)
def test_pixels_of_unknown_range_are_refused(array):
    with pytest.raises(NcfmError, match=r"image number 0 of .* save it with 8"):
        decode_all([encoded(array, "TIFF")])


def test_cmyk_becomes_rgb():
    flat = Image.new("CMYK", (8, 8), (255, 0, 0, 0))  # full cyan
    red, green, blue = decode_all([encoded(flat, "JPEG", quality=95)])[0].float().mean((1, 2)).tolist()
    assert red < 5
    assert min(green, blue) > 250


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [
        (1, lambda a: a),
        (2, lambda a: a[:, ::-1]),
        (3, lambda a: a[::-1, ::-1]),
        (4, lambda a: a[::-1]),
        (6, lambda a: np.rot90(a, -1)),  # the camera was turned left, the picture is to be turned right
        (8, np.rot90),
    ],
)
@pytest.mark.parametrize("array", [GREY, COLOUR], ids=["grey", "colour"])
def test_exif_rotation_is_applied(orientation, turn, array):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(array, exif=exif.tobytes())
    assert torch.equal(decode_all([data])[0], as_tensor(turn(array)))


def test_formats_that_run_programs_are_not_tried():
    data = encoded(COLOUR, "EPS")  # Pillow would hand it to Ghostscript
    with pytest.raises(NcfmError, match="Could not read image number 0"):
        decode_all([data])


# --- names and the hub ------------------------------------------------------------------------------------


@pytest.fixture
def no_network(monkeypatch):
    """A hub that does not answer, and no data folder."""
    import datasets

    def unreachable(repository, *args, **kwargs):
        raise ConnectionError(f"Couldn't reach {repository!r} on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    monkeypatch.delenv("NCFM_DATA", raising=False)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cifar-10", r"Unknown dataset 'cifar-10'.*Did you mean 'cifar10'\?"),
        ("Digits", r"Did you mean 'digits'\?"),
        ("cifar100-course", r"Did you mean 'cifar100-coarse'\?"),
        ("zzz", r"neither a known name nor an existing folder .*Known: digits, cifar10"),
        ("no/such/file.parquet", r"Unknown dataset 'no/such/file\.parquet'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, message):
    with pytest.raises(NcfmError, match=message) as caught:
        load_images(name)
    assert ("Did you mean" in str(caught.value)) == ("Did you mean" in message)


CIFAR100 = {"image": "img", "label": "fine_label", "others": {"coarse_label": [1, 0, 0, 0, 0, 1, 1]}}


def write_cifar(root):
    """Files with the columns of CIFAR-10 and CIFAR-100 below a data folder."""
    write_parquet(root / "cifar10" / "train.parquet", PNGS, LABELS, image="img")
    write_parquet(root / "cifar10" / "test.parquet", TEST_PNGS, TEST_LABELS, image="img")
    write_parquet(root / "cifar100" / "train.parquet", PNGS, LABELS, **CIFAR100)
    return root


def test_named_sets_are_looked_up_in_the_data_folder(tmp_path, no_network):
    images = load_images("cifar10", data_dir=write_cifar(tmp_path), image_size=6)
    check_is_the_standard_set(images, with_test=True)
    assert images.name == "cifar10"


def test_the_data_folder_may_come_from_the_environment(tmp_path, no_network, monkeypatch):
    monkeypatch.setenv("NCFM_DATA", str(write_cifar(tmp_path)))
    check_is_the_standard_set(load_images("cifar10", image_size=6), with_test=True)
    with pytest.raises(NcfmError, match="cifar10: nothing in"):
        load_images("cifar10", data_dir=tmp_path / "elsewhere")  # an explicit folder goes first


def test_cifar100_has_fine_and_coarse_classes(tmp_path, no_network):
    write_cifar(tmp_path)
    fine = load_images("cifar100", data_dir=tmp_path)
    coarse = load_images("cifar100-coarse", data_dir=tmp_path)
    assert fine.class_names == CLASSES
    assert coarse.class_names == ("0", "1")  # the file has no names for them
    assert fine.train.counts.tolist() == [2, 2, 3]
    assert coarse.train.counts.tolist() == [4, 3]


@pytest.mark.parametrize("empty", [None, ""])
def test_a_hub_out_of_reach_is_reported_with_a_remedy(no_network, monkeypatch, empty):
    if empty is not None:
        monkeypatch.setenv("NCFM_DATA", empty)
    with pytest.raises(NcfmError, match=r"cifar10: no --data-dir and no NCFM_DATA.*Couldn't reach") as caught:
        load_images("cifar10")
    assert "Put its files into <data-dir>/cifar10/" in str(caught.value)


def test_a_hub_set_out_of_reach_is_reported(no_network):
    with pytest.raises(NcfmError, match=r"Could not load 'someone/pets' from the Hugging Face hub.*reach"):
        load_images("hf:someone/pets")


def hub_split(files, labels, *, names=CLASSES):
    """A split as the hub's library gives it."""
    import datasets

    label = datasets.ClassLabel(names=list(names)) if names else datasets.Value("int64")
    features = datasets.Features({"image": datasets.Image(), "label": label})
    cells = [{"bytes": data, "path": None} for data in files]
    return datasets.Dataset.from_dict({"image": cells, "label": labels}, features=features)


def test_a_set_of_the_hub(monkeypatch):
    import datasets

    asked = []

    def load_dataset(repository):
        asked.append(repository)
        splits = {"train": hub_split(PNGS, LABELS), "test": hub_split(TEST_PNGS, TEST_LABELS)}
        return datasets.DatasetDict(splits)

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    check_is_the_standard_set(load_images("hf:someone/pets"), with_test=True)
    assert asked == ["someone/pets"]


def test_a_set_of_the_hub_without_names(monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "load_dataset", lambda _: {"train": hub_split(PNGS, LABELS, names=None)})
    assert load_images("hf:someone/pets").class_names == ("0", "1", "2")


def test_paths_may_start_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_folder(tmp_path / "pets", PNGS, LABELS)
    check_is_the_standard_set(load_images("~/pets"), with_test=False)
    assert Path("~/pets").expanduser() == tmp_path / "pets"


# --- unreadable images --------------------------------------------------------------------------------------


def with_broken(root, broken):
    """The standard folder with so many files that are no images."""
    write_folder(root / "train", PNGS, LABELS)
    write_folder(root / "test", TEST_PNGS, TEST_LABELS)
    for i in range(broken):
        (root / "train" / "cat" / f"broken-{i:02d}.png").write_bytes(b"no image")
    return root


def test_all_unreadable_images_are_listed_at_once(tmp_path):
    with pytest.raises(NcfmError) as caught:
        load_images(str(with_broken(tmp_path, 3)))
    text = str(caught.value)
    assert "Could not read 3 of 10 images" in text
    assert all(f"broken-{i:02d}.png" in text for i in range(3))
    assert "data.max_unreadable" in text


def test_long_lists_are_cut(tmp_path):
    with pytest.raises(NcfmError, match=r"(?s)broken-19.*\.\.\. and 5 more") as caught:
        load_images(str(with_broken(tmp_path, 25)))
    assert "broken-20" not in str(caught.value)


def test_a_share_of_unreadable_images_may_be_left_out(tmp_path):
    folder = str(with_broken(tmp_path, 1))
    with pytest.raises(NcfmError, match="broken-00"):
        load_images(folder, max_unreadable=0.1)
    for _ in range(2):  # decoded, then from the cache
        images = load_images(folder, max_unreadable=0.125)
        check_is_the_standard_set(images, with_test=True)
        (problem,) = images.problems
        assert problem.startswith("train: left out ")
        assert "broken-00.png" in problem


def test_many_unreadable_images_are_counted(tmp_path):
    problems = load_images(str(with_broken(tmp_path, 25)), max_unreadable=0.9).problems
    assert len(problems) == 21
    assert "broken-19" in problems[19]
    assert problems[20] == "train: left out 5 more images that could not be read"


def test_nothing_readable_is_a_failure_whatever_is_allowed(tmp_path):
    folder = tmp_path / "all"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        (folder / name / "x.png").write_bytes(b"no image")
    with pytest.raises(NcfmError, match="Could not read 2 of 2"):
        load_images(str(folder), max_unreadable=0.99)


def test_classes_without_images_are_reported(tmp_path):
    write_folder(tmp_path / "train", PNGS, LABELS, names=CLASSES)
    (tmp_path / "train" / "fox").mkdir()
    images = load_images(str(tmp_path))
    assert images.class_names == CLASSES
    assert images.problems == ("train: no images of class 'fox', left out",)


# --- IDX files ----------------------------------------------------------------------------------------------


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_idx(folder, *, compress=True, train=12, test=6):
    folder.mkdir(parents=True, exist_ok=True)
    for stem, count, first in (("train", train, 0), ("t10k", test, 100)):
        images = np.stack([pixels(first + i, channels=1) for i in range(count)])
        labels = (np.arange(count) % 3).astype(np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            data = idx_bytes(array)
            name = f"{stem}-{kind}-ubyte" + (".gz" if compress else "")
            (folder / name).write_bytes(gzip.compress(data) if compress else data)
    return folder


@pytest.mark.parametrize("compress", [True, False])
def test_a_folder_of_idx_files(tmp_path, compress):
    images = load_images(str(write_idx(tmp_path / "mnist", compress=compress)))
    assert images.class_names == ("0", "1", "2")
    assert images.train.counts.tolist() == [4, 4, 4]
    assert images.test.counts.tolist() == [2, 2, 2]
    assert torch.equal(images.train.images[1, 0], torch.from_numpy(pixels(3, channels=1)))
    assert torch.equal(images.test.images[-1, 0], torch.from_numpy(pixels(105, channels=1)))


def test_fashion_mnist_has_its_names(tmp_path):
    folder = tmp_path / "fashion-mnist"
    write_idx(folder)
    for stem, count in (("train", 12), ("t10k", 6)):
        (folder / f"{stem}-labels-idx1-ubyte.gz").write_bytes(
            gzip.compress(idx_bytes((np.arange(count) % 10).astype(np.uint8)))
        )
    images = load_images("fashion-mnist", data_dir=tmp_path)
    assert images.class_names[:2] == ("T-shirt/top", "Trouser")
    assert images.name == "fashion-mnist"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[:-1], "is damaged: expected"),
        (lambda data: data + b"x", "is damaged: expected"),
        (lambda data: b"\x00\x00\x0d" + data[3:], "not an IDX file of unsigned bytes"),
        (lambda data: data[:6], "not an IDX file"),
        (lambda data: data[:4] + b"\xff" * 12, "refused"),
    ],
    ids=["cut", "longer", "floats", "header", "huge"],
)
def test_damaged_idx_files_are_reported(tmp_path, damage, words):
    path = write_idx(tmp_path / "mnist", compress=False) / "train-images-idx3-ubyte"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(NcfmError, match=words):
        load_images(str(path.parent))


def test_a_cut_gzip_file_is_reported(tmp_path):
    path = write_idx(tmp_path / "mnist") / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(NcfmError, match="train-images"):
        load_images(str(path.parent))


def test_as_many_idx_labels_as_images(tmp_path):
    folder = write_idx(tmp_path / "mnist", compress=False)
    (folder / "train-labels-idx1-ubyte").write_bytes(idx_bytes(np.zeros(5, dtype=np.uint8)))
    with pytest.raises(NcfmError, match=r"12 images, .* 5 labels"):
        load_images(str(folder))


# --- ImageNet and its subsets -------------------------------------------------------------------------------


def write_imagenet(root, wordnet_ids):
    for split in ("train", "val"):
        for i, name in enumerate(sorted(wordnet_ids)):
            folder = root / split / name
            folder.mkdir(parents=True)
            (folder / "0.png").write_bytes(encoded(pixels(i, size=8)))
    return root


def test_a_subset_is_chosen_by_wordnet_id(tmp_path):
    ids = [w for _, w in SUBSETS["imagewoof"].classes]
    write_imagenet(tmp_path / "imagenet-1k", [*ids, "n00000001", "n99999999"])
    images = load_images("imagewoof", data_dir=tmp_path, image_size=8)
    assert images.class_names == tuple(ids)  # in the field's order
    order = sorted([*ids, "n00000001", "n99999999"])
    for label, name in enumerate(ids):
        assert torch.equal(images.train.of_class(label)[0], expected_one(order.index(name)))
    assert len(images.test) == 10


def expected_one(index):
    return torch.from_numpy(pixels(index, size=8)).permute(2, 0, 1)


def test_a_subset_of_numbered_imagenet_is_chosen_by_index(tmp_path):
    count = 1000
    tiny = [encoded(pixels(i, size=8)) for i in range(0, count, 1)]
    names = [f"class {i}" for i in range(count)]
    write_parquet(tmp_path / "imagenet-1k" / "train.parquet", tiny, list(range(count)), names=names)
    images = load_images("imagefruit", data_dir=tmp_path, image_size=8)
    for label, (index, _) in enumerate(SUBSETS["imagefruit"].classes):
        assert torch.equal(images.train.of_class(label)[0], expected_one(index))


def test_a_subset_with_a_folder_of_its_own(tmp_path):
    write_folder(tmp_path / "imagenette" / "train", PNGS, LABELS)
    images = load_images("imagenette", data_dir=tmp_path, image_size=SIZE)
    assert images.class_names == CLASSES
    assert load_images("imagenette", data_dir=tmp_path).image_size == 128  # the field's, if none is asked for


def test_a_subset_of_something_else_is_reported(tmp_path):
    write_folder(tmp_path / "imagenet-1k" / "train", PNGS, LABELS)
    with pytest.raises(NcfmError, match=r"imagemeow: train has 3 classes, but not n02123045.*is it ImageNet-1K"):
        load_images("imagemeow", data_dir=tmp_path)


def test_subsets_are_ten_different_classes_in_imagenets_order():
    for name, subset in SUBSETS.items():
        indices, ids = zip(*subset.classes, strict=True)
        assert len(set(ids)) == len(set(indices)) == 10, name
        assert all(0 <= i < 1000 for i in indices)
    # An index is the place of an id in sorted order, so all pairs of all subsets rise together.
    pairs = sorted({pair for subset in SUBSETS.values() for pair in subset.classes})
    assert [w for _, w in pairs] == sorted(w for _, w in pairs)


# --- in memory ----------------------------------------------------------------------------------------------


def arrays(labels, first=0):
    return np.stack([pixels(first + i) for i in range(len(labels))]), labels


class Items(torch.utils.data.Dataset):
    """A map-style data set that gives its images in one of the usual forms."""

    classes = CLASSES

    def __init__(self, form, labels=LABELS, first=0):
        self.form, self.labels, self.first = form, labels, first

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        array = pixels(self.first + index)
        forms = {
            "pillow": lambda: Image.fromarray(array),
            "array": lambda: array,
            "bytes tensor": lambda: torch.from_numpy(array).permute(2, 0, 1),
            "float tensor": lambda: torch.from_numpy(array).permute(2, 0, 1) / 255,
        }
        return forms[self.form](), self.labels[index]


@pytest.mark.parametrize("form", ["pillow", "array", "bytes tensor", "float tensor"])
def test_any_torch_data_set(form):
    images = images_of(Items(form), Items(form, TEST_LABELS, 100))
    check_is_the_standard_set(images, with_test=True)


@pytest.mark.parametrize("last", [True, False], ids=["channels last", "channels first"])
@pytest.mark.parametrize("tensors", [True, False])
def test_arrays(last, tensors):
    pair = []
    for labels, first in ((LABELS, 0), (TEST_LABELS, 100)):
        images, classes = arrays(labels, first)
        images = images if last else images.transpose(0, 3, 1, 2)
        pair.append((torch.from_numpy(images.copy()), torch.tensor(classes)) if tensors else (images, classes))
    check_is_the_standard_set(images_of(*pair, class_names=CLASSES), with_test=True)


def test_grey_arrays_and_numbers_for_names():
    images = images_of((np.stack([pixels(i, channels=1) for i in range(4)]), [0, 1, 0, 1]))
    assert images.channels == 1
    assert images.class_names == ("0", "1")
    assert images.test is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ((np.full((2, 4, 4, 3), 2.0), [0, 1]), "expected floats in .0, 1., got 2 to 2; undo their normalisation"),
        ((np.zeros((2, 4, 4, 4), np.uint8), [0, 1]), "not clear which axis is c"),
        ((np.zeros((2, 4, 4, 2, 1), np.uint8), [0, 1]), "expected the shape"),
        ((np.zeros((2, 4, 4, 3), np.uint8), [0]), "as many labels as images"),
        ((np.zeros((0, 4, 4, 3), np.uint8), []), "at least one image"),
    ],
)
def test_arrays_that_are_no_images_are_reported(source, words):
    with pytest.raises(NcfmError, match=words):
        images_of(source)


def test_one_set_from_everywhere_is_bit_identical(tmp_path):
    write_folder(tmp_path / "folder" / "train", PNGS, LABELS)
    write_folder(tmp_path / "folder" / "test", TEST_PNGS, TEST_LABELS)
    write_parquet(tmp_path / "parquet" / "train.parquet", PNGS, LABELS)
    write_parquet(tmp_path / "parquet" / "test.parquet", TEST_PNGS, TEST_LABELS)
    sets = [
        load_images(str(tmp_path / "folder")),
        load_images(str(tmp_path / "parquet")),
        images_of(arrays(LABELS), arrays(TEST_LABELS, 100), class_names=CLASSES),
        images_of(Items("pillow"), Items("pillow", TEST_LABELS, 100)),
    ]
    assert len({images.fingerprint for images in sets}) == 1
    assert all(torch.equal(images.test.images, sets[0].test.images) for images in sets)


# --- found by fuzzing ---------------------------------------------------------------------------------------


class Plain(torch.utils.data.Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


PIXELS = np.zeros((8, 8), np.uint8)


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (None, "expected items .image, label., but item 1 is None"),
        ((PIXELS,), "item 1 is"),
        ({"image": PIXELS, "tag": 0}, "no label column named label"),
        ((PIXELS, "cat"), "all numbers or all names, got both"),
        ((PIXELS, 0.5), "whole numbers or names, got 0.5"),
        ((PIXELS, float("nan")), "whole numbers or names, got nan"),
        ((PIXELS, 10**12), "labels below 1,048,576, found 1000000000000"),
    ],
)
def test_items_that_are_no_image_and_label_are_reported(item, message):
    with pytest.raises(NcfmError, match=message):
        images_of(Plain((PIXELS, 0), item))


def test_an_idx_file_that_claims_more_than_it_has_is_refused_before_room_is_made(tmp_path):
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(bytes([0, 0, 8, 3]) + (2**10).to_bytes(4, "big") * 3 + b"few")
    tracemalloc.start()
    with pytest.raises(NcfmError, match="damaged: expected 1073741824 bytes"):
        read_idx(path, axes=3)
    assert tracemalloc.get_traced_memory()[1] < 2**23
    tracemalloc.stop()


@pytest.mark.parametrize("side", [9000, 12_000, 60_000])
def test_an_image_that_claims_gigabytes_is_refused_by_its_header(tmp_path, side):
    """A PNG file of some kilobytes can unfold to as much as one likes."""
    for name in "ab":
        path = tmp_path / "train" / name / "0.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(PIXELS).save(path)
    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    checksum = zlib.crc32(b"IHDR" + header).to_bytes(4, "big")
    content = (tmp_path / "train/a/0.png").read_bytes()
    (tmp_path / "train/a/0.png").write_bytes(content[:16] + header + checksum + content[33:])
    tracemalloc.start()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own, from 89 million pixels on
        with pytest.raises(NcfmError, match=r"header says|exceeds limit"):
            load_images(str(tmp_path))
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
