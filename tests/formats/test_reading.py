"""External formats: every file gives the images that were written, and what does not match is reported."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.types import LabelledImages
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.formats.reading import is_set, read_external
from strategies import rng
from tiny import few


@pytest.fixture(scope="module")
def real(digits):
    return few(digits)


@pytest.fixture(scope="module")
def stored():
    return torch.randint(0, 256, (20, 1, 8, 8), dtype=torch.uint8, generator=rng(3))


LABELS = torch.arange(10).repeat_interleave(2)


def assert_same(found, stored, labels=LABELS):
    assert torch.equal(found.labels, labels)
    assert torch.equal(found.images, to_float(stored))


# --- forms --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda x: x.numpy(),
        lambda x: x.permute(0, 2, 3, 1).numpy(),  # channels last
        lambda x: x[:, 0].numpy(),  # grey without a channel
        lambda x: x.unflatten(0, (10, 2)).numpy(),  # (C, ipc, ...)
    ],
)
@pytest.mark.parametrize("names", [("images", "labels"), ("x_train", "y_train"), ("data", "targets")])
def test_numpy_files(real, stored, tmp_path, form, names):
    np.savez(tmp_path / "set.npz", **{names[0]: form(stored), names[1]: LABELS.numpy()})
    assert_same(read_external(tmp_path / "set.npz", real).images, stored)


def test_numpy_floats(real, stored, tmp_path):
    np.savez(tmp_path / "set.npz", images=to_float(stored).double().numpy(), labels=LABELS.int().numpy())
    assert_same(read_external(tmp_path / "set.npz", real).images, stored)


def test_floats_of_255_levels(real, stored, tmp_path):
    np.savez(tmp_path / "set.npz", images=stored.float().numpy(), labels=LABELS.numpy())
    torch.testing.assert_close(read_external(tmp_path / "set.npz", real).images.images, to_float(stored))


@pytest.mark.parametrize(
    "form",
    [
        lambda x: {"images": x, "labels": LABELS},
        lambda x: (x, LABELS),
        lambda x: [x, LABELS],
        lambda x: x.unflatten(0, (10, 2)),  # (C, ipc, ...): the labels are clear
        lambda x: {"image_syn": x.unflatten(0, (10, 2))},
    ],
)
def test_torch_files(real, stored, tmp_path, form):
    torch.save(form(stored), tmp_path / "set.pt")
    assert_same(read_external(tmp_path / "set.pt", real).images, stored)


def test_safetensors_files(real, stored, tmp_path):
    save_file({"images": stored, "labels": LABELS}, tmp_path / "set.safetensors")
    assert_same(read_external(tmp_path / "set.safetensors", real).images, stored)


def test_normalised_images_are_brought_back(real, stored, tmp_path):
    torch.save((normalize(to_float(stored), real.statistics), LABELS), tmp_path / "set.pt")
    found = read_external(tmp_path / "set.pt", real, normalized_by="data").images
    torch.testing.assert_close(found.images, to_float(stored), atol=1e-5, rtol=0)


@pytest.mark.parametrize("names", [[str(i) for i in range(10)], [f"{i:02d}" for i in range(10)][:1]])
def test_image_folders(real, stored, tmp_path, names):
    names = real.class_names
    for i, (image, label) in enumerate(zip(stored, LABELS.tolist(), strict=True)):
        folder = tmp_path / "set" / names[label]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{i:03d}.png")
    assert_same(read_external(tmp_path / "set", real).images, stored)


def test_parquet_files(real, stored, tmp_path):
    from io import BytesIO

    def png(image):
        buffer = BytesIO()
        Image.fromarray(image[0].numpy()).save(buffer, "PNG")
        return {"bytes": buffer.getvalue(), "path": None}

    table = pa.table({"image": [png(image) for image in stored], "label": LABELS.tolist()})
    pq.write_table(table, tmp_path / "set.parquet")
    assert_same(read_external(tmp_path / "set.parquet", real).images, stored)


@pytest.mark.parametrize("index", ['{"format": "another", "folders": 3}', "[1]", '{"format": "ncfm-export"}'])
def test_an_index_of_another_kind_changes_nothing(real, stored, tmp_path, index):
    test_image_folders(real, stored, tmp_path, [])
    (tmp_path / "set" / "classes.json").write_text(index)
    assert_same(read_external(tmp_path / "set", real).images, stored)


def test_a_part_of_the_classes(real, stored, tmp_path):
    np.savez(tmp_path / "set.npz", images=stored[:6].numpy(), labels=LABELS[:6].numpy())
    assert_same(read_external(tmp_path / "set.npz", real).images, stored[:6], LABELS[:6])


# --- evaluated ----------------------------------------------------------------------------------------------


def test_a_set_in_a_file_is_evaluated_like_its_tensors(real, stored, tmp_path):
    np.savez(tmp_path / "set.npz", images=stored.numpy(), labels=LABELS.numpy())
    settings = {"evaluate.network": "convnet1w8", "evaluate.epochs": 2, "evaluate.runs": 2}
    of_file = ncfm.evaluate(tmp_path / "set.npz", "digits", settings=settings)
    of_tensors = ncfm.evaluate(LabelledImages(to_float(stored), LABELS), "digits", settings=settings)
    assert of_file.accuracies == of_tensors.accuracies


def test_what_ncfm_wrote_is_not_an_external_format(tmp_path):
    assert is_set(tmp_path / "nothing")
    assert not is_set(tmp_path)
    (tmp_path / "set.json").touch()
    assert is_set(tmp_path)


# --- mistakes -----------------------------------------------------------------------------------------------


def test_code_in_a_file_is_not_run(real, tmp_path):
    class Evil:
        def __reduce__(self):
            return (exec, (f"open({str(tmp_path / 'evil')!r}, 'w').close()",))

    torch.save({"images": Evil()}, tmp_path / "set.pt")
    with pytest.raises(NcfmError, match="Files that could run code are not loaded"):
        read_external(tmp_path / "set.pt", real)
    np.savez(tmp_path / "set.npz", images=np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(NcfmError, match="objects are not loaded"):
        read_external(tmp_path / "set.npz", real)
    assert not (tmp_path / "evil").exists()


def saved(folder, images, labels):
    np.savez(folder / "set.npz", images=images, labels=labels)
    return folder / "set.npz"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((4, 3, 8, 8), np.uint8), [0, 1, 2, 3], r"shape \(n, 1, 8, 8\) as few digits has.*got \(4, 3, 8, 8\)"),
        (np.zeros((4, 1, 8, 8), np.uint8), [0, 1, 2], "with 3 labels"),
        (np.zeros((4, 1, 8, 8), np.uint8), [0, 1, 2, 10], r"must lie in 0..9 .* got 0..10"),
        (np.zeros((4, 1, 8, 8), np.uint8), [0.0, 1.0, 2.0, 3.5], "class indices as labels"),
        (np.zeros((4, 1, 8, 8), np.int32), [0, 1, 2, 3], "uint8 or floats, got torch.int32"),
        (np.full((4, 1, 8, 8), np.nan), [0, 1, 2, 3], "not finite"),
        (np.full((4, 1, 8, 8), -1e6), [0, 1, 2, 3], r"floats in \[0, 1\], got"),
    ],
)
def test_what_does_not_fit_is_reported(real, tmp_path, images, labels, message):
    with pytest.raises(NcfmError, match=message):
        read_external(saved(tmp_path, images, np.array(labels)), real)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("set.npz", b"nonsense", "Could not read"),
        ("set.pt", b"nonsense", "Could not read"),
        ("set.safetensors", b"nonsense", "Could not read"),
        ("set.csv", b"a,b", r"ending in .parquet, .npz, .npy, .pt"),
    ],
)
def test_unknown_and_damaged_files_are_reported(real, tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(NcfmError, match=message):
        read_external(tmp_path / name, real)


def test_images_by_another_name_are_reported(real, tmp_path):
    np.savez(tmp_path / "set.npz", pictures=np.zeros((2, 8, 8), np.uint8))
    with pytest.raises(NcfmError, match=r"expected images named images, .*found pictures"):
        read_external(tmp_path / "set.npz", real)


def test_classes_that_the_data_do_not_have_are_reported(real, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("L", (8, 8)).save(tmp_path / "set" / name / "a.png")
    with pytest.raises(NcfmError, match="has classes that are missing from few digits: cat, dog"):
        read_external(tmp_path / "set", real)
