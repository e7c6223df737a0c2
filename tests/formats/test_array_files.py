"""Files of arrays in the layouts of published programs: what is read, and what is refused."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm.formats.array_files import partner, read_arrays
from ncfm.formats.reading import read_external
from tiny import few

LABELS = torch.arange(10).repeat_interleave(2)


@pytest.fixture(scope="module")
def images():
    return torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def same(found, images, labels=LABELS):
    assert torch.equal(found.images, images)
    assert found.labels is None if labels is None else torch.equal(found.labels.flatten().long(), labels)


# --- results of DC, DSA and DM ------------------------------------------------------------------------------


@pytest.mark.parametrize("repetitions", [1, 3])
def test_results_of_gradient_matching(images, tmp_path, repetitions):
    sets = [[images / (i + 1), LABELS] for i in range(repetitions)]
    accuracies = {"ConvNet": [np.float64(0.42), np.float32(0.43)], "MLP": [np.int64(3)]}
    torch.save({"data": sets, "accs_all_exps": accuracies}, tmp_path / "res_DC.pt")
    found = read_arrays(tmp_path / "res_DC.pt")
    same(found, images)
    expected = () if repetitions == 1 else (f"{tmp_path / 'res_DC.pt'}: the first of its 3 sets is read.",)
    assert found.notes == expected


def test_numbers_of_numpy_1_are_read(images, tmp_path):
    torch.save({"data": [[images, LABELS]], "accs": [np.float64(0.5)]}, tmp_path / "new.pt", pickle_protocol=2)
    old = (tmp_path / "new.pt").read_bytes()
    assert b"numpy._core.multiarray" in old or b"numpy.core.multiarray" in old
    # The name is a line of the pickle without a length; the archive's checksum is not compared by torch.
    from zipfile import ZipFile

    with ZipFile(tmp_path / "new.pt") as source, ZipFile(tmp_path / "old.pt", "w") as target:
        for item in source.namelist():
            content = source.read(item)
            target.writestr(item, content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    same(read_arrays(tmp_path / "old.pt"), images)


@pytest.mark.parametrize("data", [[], [1, 2], ["ab"], [[torch.zeros(1), 3]]])
def test_other_lists_are_refused(tmp_path, data):
    torch.save({"data": data}, tmp_path / "set.pt")
    with pytest.raises(InputError, match=r"expected pairs \(images, labels\) under 'data'"):
        read_arrays(tmp_path / "set.pt")


class Command:
    def __reduce__(self):
        return os.system, ("touch ran",)


def test_code_is_not_run(images, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"data": [[images, LABELS]], "accs": Command()}, "set.pt")
    (tmp_path / "set.npy").write_bytes(pickle.dumps(Command()))
    np.save("objects.npy", np.array([Command()], dtype=object))
    for name in ("set.pt", "set.npy", "objects.npy"):
        with pytest.raises(RunError, match=r"could run code|objects are not loaded"):
            read_arrays(tmp_path / name)
    assert not (tmp_path / "ran").exists()


# --- two files that belong together -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("images_best.pt", "labels_best.pt"),
        ("images_5000.pt", "labels_5000.pt"),
        ("kmeans-images.npy", "kmeans-labels.npy"),
        ("my images of images.pth", "my images of labels.pth"),
        ("image_syn.pt", "label_syn.pt"),
    ],
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.float32])
def test_labels_in_a_second_file(images, tmp_path, first, second, dtype):
    def save(value, name):
        np.save(tmp_path / name, value.numpy()) if name.endswith("npy") else torch.save(value, tmp_path / name)

    assert partner(tmp_path / first) == tmp_path / second
    save(images, first)
    same(read_arrays(tmp_path / first), images, labels=None)
    save(LABELS.to(dtype), second)
    found = read_arrays(tmp_path / first)
    same(found, images)
    assert found.notes == (f"{tmp_path / first}: the labels are those of {second}.",)


def test_a_missing_second_file_is_named(digits, images, tmp_path):
    torch.save(images, tmp_path / "images_best.pt")
    with pytest.raises(InputError, match=r"or a file labels_best\.pt, or images of shape \(10, ipc, 1, 8, 8\)"):
        read_external(tmp_path / "images_best.pt", few(digits))
    torch.save({"a": 1}, tmp_path / "labels_best.pt")
    with pytest.raises(InputError, match=r"labels_best\.pt: expected the labels of images_best\.pt, found"):
        read_external(tmp_path / "images_best.pt", few(digits))


# --- arrays by name, pairs ----------------------------------------------------------------------------------


def test_names_pairs_and_plain_arrays(images, tmp_path):
    torch.save((images, LABELS), tmp_path / "pair.pt")
    torch.save({"X_train": images, "y_train": LABELS}, tmp_path / "names.pth")
    save_file({"images": images, "labels": LABELS}, tmp_path / "names.safetensors")
    np.savez(tmp_path / "names.npz", x=images.numpy(), y=LABELS.numpy())
    np.savez(tmp_path / "plain.npz", images.numpy(), LABELS.numpy())
    for name in ("pair.pt", "names.pth", "names.safetensors", "names.npz", "plain.npz"):
        found = read_arrays(tmp_path / name)
        same(found, images)
        assert found.notes == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [({"pixels": torch.zeros(1)}, r"expected images named images, .*, found pixels"), (3, "found int"), ([], "found")],
)
def test_other_layouts_are_named(tmp_path, content, message):
    torch.save(content, tmp_path / "set.pt")
    with pytest.raises(InputError, match=message):
        read_arrays(tmp_path / "set.pt")


def test_plain_values_and_soft_labels_are_kept(images, tmp_path):
    soft = torch.rand(20, 10)
    values = {"class_names": ["a", "b"], "factor": 2, "note": "x"}
    torch.save({"images": images, "labels": LABELS, "probabilities": soft} | values, tmp_path / "set.pt")
    arrays = {name: np.array(value) for name, value in values.items()}
    np.savez(tmp_path / "set.npz", images=images, labels=LABELS, probabilities=soft, **arrays)
    for name in ("set.pt", "set.npz"):
        found = read_arrays(tmp_path / name)
        same(found, images)
        assert torch.equal(found.soft, soft)
        assert found.facts == values
    torch.save({"images": images, "soft_labels": soft}, tmp_path / "soft.pt")
    found = read_arrays(tmp_path / "soft.pt")
    assert torch.equal(found.labels, soft)
    assert found.soft is None


def test_members_of_an_archive_that_are_no_arrays_are_left_out(images, tmp_path):
    from zipfile import ZipFile

    np.savez(tmp_path / "set.npz", images=images, labels=LABELS)
    with ZipFile(tmp_path / "set.npz", "a") as archive:
        archive.writestr("README.txt", "not an array")
    same(read_arrays(tmp_path / "set.npz"), images)


# --- what is said about labels ------------------------------------------------------------------------------


def test_classes_without_images_are_said(digits, images, tmp_path):
    real = few(digits)
    torch.save((images[:14], LABELS[:14]), tmp_path / "set.pt")
    found = read_external(tmp_path / "set.pt", real)
    assert found.notes == (f"{tmp_path / 'set.pt'}: 3 of 10 classes have no images: 7, 8, 9.",)
    torch.save((images, LABELS), tmp_path / "set.pt")
    assert read_external(tmp_path / "set.pt", real).notes == ()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (LABELS + 0.5, "torch.float32 with fractions"),
        (LABELS.float() * float("nan"), "torch.float32 with fractions"),
        (torch.eye(9).repeat_interleave(2, dim=0), r"soft labels \(n, 10\), got \(18, 9\)"),
        (LABELS.float() + 1, r"must lie in 0\.\.9"),
    ],
)
def test_labels_that_are_no_indices_are_refused(digits, images, tmp_path, labels, message):
    torch.save((images, labels), tmp_path / "set.pt")
    with pytest.raises(NcfmError, match=message):
        read_external(tmp_path / "set.pt", few(digits))
