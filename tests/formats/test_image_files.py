"""Sets of image files: nothing is resized, soft labels stay with their images, and what is left unread is named."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from ncfm._utils.checks import InputError
from ncfm.data.levels import to_float
from ncfm.formats.image_files import read_image_files
from ncfm.formats.reading import read_external
from sets import real_images
from strategies import rng

NAMES = ("ant", "bee", "cat")
PIXELS = torch.randint(0, 256, (6, 1, 8, 8), dtype=torch.uint8, generator=rng(0))
LABELS = [2, 0, 1, 0, 2, 1]
SOFT = torch.randn(6, 3, generator=rng(1)).softmax(1)
BY_CLASS = torch.tensor(LABELS).argsort(stable=True)


@pytest.fixture(scope="module")
def real():
    return real_images(NAMES)


def picture(pixels):
    return Image.fromarray(pixels.permute(1, 2, 0).squeeze(-1).numpy())


def png(pixels):
    buffer = io.BytesIO()
    picture(pixels).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def write_folder(place, names, pixels=PIXELS, suffix="png"):
    for i, label in enumerate(LABELS):
        folder = place / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        picture(pixels[i]).save(folder / f"{i:03d}.{suffix}")
    return place


def write_table(place, pixels=PIXELS, labels=LABELS, **columns):
    columns = {"image": [png(one) for one in pixels], "label": labels} | columns
    pq.write_table(pa.table(columns), place)
    return place


def assert_read(found, pixels=PIXELS):
    assert torch.equal(found.images.images, to_float(pixels[BY_CLASS]))
    assert found.images.labels.tolist() == [0, 0, 1, 1, 2, 2]


# --- names --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["{:05d}", "new{:03d}"])
def test_folders_of_rded_and_sre2l(real, tmp_path, form):
    names = [form.format(i) for i in range(3)]
    found = read_external(write_folder(tmp_path / "syn_data", names), real)
    assert_read(found)
    place = tmp_path / "syn_data"
    assert found.notes == (
        f"{place}: the numbers of its classes are taken as positions in the order of real: {names[0]} is ant, "
        f"{names[1]} is bee, {names[2]} is cat.",
    )


def test_eleven_folders_with_numbers_are_not_sorted_as_text(tmp_path):
    for i in range(11):
        (tmp_path / "set" / str(i)).mkdir(parents=True)
        Image.new("L", (8, 8), i).save(tmp_path / "set" / str(i) / "a.png")
    found = read_external(tmp_path / "set", real_images([f"class {chr(97 + i)}" for i in range(11)]))
    levels = (255 * found.images.images[:, 0, 0, 0]).round().int()
    assert levels.tolist() == found.images.labels.tolist()
    assert sorted(levels.tolist()) == list(range(11))


def test_a_folder_that_is_called_as_a_dataset_is_the_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "digits", "012")
    found = read_image_files((tmp_path / "digits").relative_to(tmp_path))
    assert len(found.images) == 6


# --- sizes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["folder", "parquet", "npz", "pt"])
def test_another_size_is_refused_in_every_form(real, tmp_path, form):
    pixels = torch.zeros(6, 1, 16, 16, dtype=torch.uint8)
    place = tmp_path / f"set.{form}"
    if form == "folder":
        write_folder(place, NAMES, pixels)
    elif form == "parquet":
        write_table(place, pixels)
    elif form == "npz":
        np.savez(place, images=pixels.numpy(), labels=np.array(LABELS))
    else:
        torch.save({"images": pixels, "labels": torch.tensor(LABELS)}, place)
    expected = r"images of shape \(n, 1, 8, 8\) as real has, got \(6, 1, 16, 16\)\. .*--set data\.image_size=16\."
    with pytest.raises(InputError, match=expected):
        read_external(place, real)


def test_images_of_several_sizes_are_refused(real, tmp_path):
    place = write_folder(tmp_path / "set", NAMES)
    Image.new("L", (9, 8)).save(place / "ant" / "wide.png")
    with pytest.raises(InputError, match=r"have 2 different sizes \(8x8, 9x8\); save them square and of one size"):
        read_external(place, real)


def test_grey_files_in_colour_and_no_colours_in_grey(tmp_path):
    place = write_folder(tmp_path / "set", NAMES)
    assert_read(read_external(place, real_images(NAMES, channels=3)), PIXELS.expand(-1, 3, -1, -1))
    colours = write_folder(tmp_path / "colours", NAMES, PIXELS.repeat(1, 3, 1, 1))
    with pytest.raises(InputError, match=r"\(n, 1, 8, 8\) as real has, got \(6, 3, 8, 8\)"):
        read_external(colours, real_images(NAMES))


def test_files_of_four_channels_keep_them_for_data_of_four(tmp_path):
    pixels = torch.randint(0, 256, (6, 4, 8, 8), dtype=torch.uint8, generator=rng(2))
    place = write_folder(tmp_path / "set", NAMES, pixels)
    assert_read(read_external(place, real_images(NAMES, channels=4)), pixels)
    with pytest.raises(InputError, match=r"\(n, 1, 8, 8\) as real has, got \(6, 3, 8, 8\)"):
        read_external(place, real_images(NAMES))


# --- soft labels --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("column", ["probabilities", "soft_labels", "logits"])
@pytest.mark.parametrize("fixed", [True, False])
def test_a_column_of_soft_labels(real, tmp_path, column, fixed):
    values = SOFT.log() + 3 if column == "logits" else SOFT
    kind = pa.list_(pa.float32(), 3) if fixed else pa.list_(pa.float64())
    found = read_external(write_table(tmp_path / "set.parquet", **{column: pa.array(values.tolist(), kind)}), real)
    assert_read(found)
    torch.testing.assert_close(found.soft_labels.log_probabilities().exp(), SOFT[BY_CLASS])
    assert any("labels are " in note for note in found.notes)


def test_soft_labels_of_shards(real, tmp_path):
    for i, rows in enumerate((slice(0, 4), slice(4, 6))):
        soft = pa.array(SOFT[rows].tolist(), pa.list_(pa.float32()))
        write_table(tmp_path / f"train-{i}.parquet", PIXELS[rows], LABELS[rows], soft_labels=soft)
    found = read_external(tmp_path, real)
    assert_read(found)
    torch.testing.assert_close(found.soft_labels.log_probabilities().exp(), SOFT[BY_CLASS])


@pytest.mark.parametrize("rows", [[[0.5, 0.5]] + [[0.2, 0.3, 0.5]] * 5, [None] + [[0.2, 0.3, 0.5]] * 5])
def test_a_column_of_unequal_lists_is_refused(real, tmp_path, rows):
    with pytest.raises(InputError, match="a list of as many numbers in every row of column 'soft_labels'"):
        read_external(write_table(tmp_path / "set.parquet", soft_labels=rows), real)


@pytest.mark.parametrize("name", ["labels.pt", "soft_labels.pt", "soft_labels.npy"])
def test_a_file_of_soft_labels_next_to_the_folders(real, tmp_path, name):
    place, soft = write_folder(tmp_path / "set", NAMES), SOFT.log()
    np.save(place / name, soft.numpy()) if name.endswith("npy") else torch.save(soft, place / name)
    found = read_external(place, real)  # in the order of the sorted folders and files, as an ImageFolder
    assert_read(found)
    torch.testing.assert_close(found.soft_labels.log_probabilities().exp(), SOFT)
    torch.save(SOFT[:5], place / "soft_labels.pt")
    with pytest.raises(InputError, match="soft labels of its 6 training images, got 5 soft labels"):
        read_external(place, real)


def test_soft_labels_are_left_aside_on_request(real, tmp_path):
    place = write_table(tmp_path / "set.parquet", probabilities=SOFT.tolist())
    assert read_external(place, real, labels="hard").soft_labels is None


# --- what is left unread ------------------------------------------------------------------------------------


def test_a_test_split_is_named(real, tmp_path):
    write_folder(tmp_path / "set" / "train", NAMES)
    write_folder(tmp_path / "set" / "test", NAMES)
    found = read_external(tmp_path / "set", real)
    assert_read(found)
    assert found.notes == (f"{tmp_path / 'set'}: its test split is left unread.",)


def test_classes_without_images_are_named_once(tmp_path):
    found = read_external(write_folder(tmp_path / "set", NAMES), real_images((*NAMES, "dog")))
    assert found.notes == (f"{tmp_path / 'set'}: 1 of 4 classes have no images: dog.",)


def test_the_number_of_a_class_that_is_missing_in_a_table(real, tmp_path):
    labels = [label if label < 2 else 0 for label in LABELS]
    found = read_external(write_table(tmp_path / "set.parquet", labels=labels), real)
    assert found.images.labels.bincount(minlength=3).tolist() == [4, 2, 0]
    assert "1 of 3 classes have no images: cat" in found.notes[-1]
