"""Folders of other programs: DD-Ranking and DATM are read, several sets and labels by epoch are not guessed at."""

import pytest
import torch
from PIL import Image

from ncfm._utils.checks import InputError
from ncfm.formats.reading import read_external
from sets import real_images
from strategies import rng

NAMES = ("ant", "bee", "cat")
IMAGES = torch.rand(6, 1, 8, 8, generator=rng(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
LOGITS = 2 * torch.randn(6, 3, generator=rng(1)) + 1


@pytest.fixture(scope="module")
def real():
    return real_images(NAMES)


def write(folder, **tensors):
    folder.mkdir(exist_ok=True)
    for name, tensor in tensors.items():
        torch.save(tensor, folder / f"{name}.pt")
    return folder


def test_the_files_of_datm(real, tmp_path):
    write(tmp_path, images_best=IMAGES, labels_best=LOGITS, lr_best=torch.tensor(0.01))
    for place in (tmp_path, tmp_path / "images_best.pt"):
        found = read_external(place, real)
        assert torch.equal(found.images.images, IMAGES)
        assert torch.equal(found.images.labels, LOGITS.argmax(1))
        torch.testing.assert_close(found.soft_labels.log_probabilities(), LOGITS.log_softmax(1))
        assert any("labels are taken as logits" in note for note in found.notes)


def test_a_folder_for_ddranking(real, tmp_path):
    found = read_external(write(tmp_path / "hard", images=IMAGES, labels=LABELS), real)
    assert torch.equal(found.images.labels, LABELS)
    assert found.soft_labels is None
    found = read_external(write(tmp_path / "soft", images=IMAGES, soft_labels=LOGITS), real)
    torch.testing.assert_close(found.soft_labels.log_probabilities(), LOGITS.log_softmax(1))
    found = read_external(write(tmp_path / "both", images=IMAGES, labels=LABELS, soft_labels=LOGITS), real)
    assert torch.equal(found.images.labels, LABELS)
    torch.testing.assert_close(found.soft_labels.log_probabilities(), LOGITS.log_softmax(1))


def test_a_single_file_needs_no_name(real, tmp_path):
    torch.save({"images": IMAGES, "labels": LABELS}, tmp_path / "distilled.pt")
    assert torch.equal(read_external(tmp_path, real).images.images, IMAGES)


def test_several_sets_in_a_folder_are_not_guessed_at(real, tmp_path):
    write(tmp_path, images_best=IMAGES, labels_best=LABELS, images_zca_best=IMAGES, labels_zca_best=LABELS)
    with pytest.raises(
        InputError, match=r"one file of images, found images_best\.pt, images_zca_best\.pt; give the path"
    ):
        read_external(tmp_path, real)


def test_labels_by_epoch_are_refused_by_name(real, tmp_path):
    (tmp_path / "FKD_cutmix_fp16" / "epoch_0").mkdir(parents=True)
    (tmp_path / "FKD_cutmix_fp16" / "epoch_0" / "batch_0.tar").touch()
    with pytest.raises(InputError, match=r"soft labels of every epoch \(FKD, as SRe2L .*evaluate\.labels=teacher"):
        read_external(tmp_path / "FKD_cutmix_fp16", real)
    for i in range(3):
        (tmp_path / f"new{i:03d}").mkdir()
        Image.new("L", (8, 8), i).save(tmp_path / f"new{i:03d}" / f"class{i:03d}_id000.jpg")
    found = read_external(tmp_path, real)
    assert found.images.labels.tolist() == [0, 1, 2]
    assert f"{tmp_path}: the soft labels of every epoch in FKD_cutmix_fp16 (FKD) are left unread." in found.notes


def test_an_empty_folder_is_reported(real, tmp_path):
    with pytest.raises(InputError, match="expected a folder per class"):
        read_external(tmp_path, real)
