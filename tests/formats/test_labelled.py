"""Images and labels handed over in Python: every form gives the same tensors, or one sentence."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

import ncfm
from ncfm._utils.checks import InputError
from ncfm._utils.types import LabelledImages
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation import evaluate, get_protocol
from ncfm.formats.labelled import labelled_images
from sets import synthetic
from strategies import rng
from tiny import SETTINGS, few

NAMES = ("cat", "dog", "emu")
LABELS = [2, 0, 1, 1]
LEVELS = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8, generator=rng(0))
FLOATS = LEVELS / 255


@pytest.fixture(scope="module")
def real():
    split = ImageSplit.of(LEVELS.repeat(2, 1, 1, 1), torch.tensor(LABELS * 2), 3)
    return ImageSet("colours", split, split, NAMES)


@pytest.mark.parametrize(
    ("images", "expected", "notes"),
    [
        (FLOATS, FLOATS, ()),
        (FLOATS.double(), FLOATS, ()),
        (FLOATS.numpy(), FLOATS, ()),
        (FLOATS.permute(0, 2, 3, 1).numpy(), FLOATS, ()),
        (list(FLOATS.numpy()), FLOATS, ()),
        (tuple(FLOATS), FLOATS, ()),
        (FLOATS.clone().requires_grad_(), FLOATS, ()),
        (LEVELS, LEVELS, ()),
        (LEVELS.numpy(), LEVELS, ()),
        (LEVELS.long(), LEVELS, ("The images: int64 pixels are taken as levels from 0 to 255",)),
        (LEVELS.numpy().astype(np.uint16), LEVELS, ("The images: uint16 pixels are taken as levels from 0 to 255",)),
        (
            LEVELS > 127,
            (LEVELS > 127) * torch.tensor(255).byte(),
            ("The images: bool pixels are taken as black and white",),
        ),
    ],
)
def test_images_of_any_form(real, images, expected, notes):
    found, said = labelled_images((images, LABELS), real)
    assert found.images.dtype == expected.dtype
    assert torch.equal(found.images, expected)
    assert not found.images.requires_grad
    assert found.labels.tolist() == LABELS
    assert found.labels.dtype == torch.int64
    assert said == notes


@pytest.mark.parametrize(
    ("labels", "notes"),
    [
        (torch.tensor(LABELS, dtype=torch.int32), ()),
        (np.array(LABELS)[:, None], ()),
        (torch.tensor(LABELS).float(), ()),
        ([NAMES[label] for label in LABELS], ()),
        (torch.eye(3)[LABELS], ("The images: one-hot labels of 3 classes are numbered",)),
    ],
)
def test_labels_of_any_form(real, labels, notes):
    found, said = labelled_images(LabelledImages(FLOATS, labels), real)
    assert found.labels.tolist() == LABELS
    assert said == notes


@pytest.mark.parametrize("channels", [2, 4, 7])
@pytest.mark.parametrize("last", [False, True])
def test_images_of_other_channels(channels, last):
    levels = torch.randint(0, 256, (4, channels, 8, 8), dtype=torch.uint8, generator=rng(channels))
    split = ImageSplit.of(levels.repeat(2, 1, 1, 1), torch.tensor(LABELS * 2), 3)
    real = ImageSet("bands", split, split, NAMES)
    for images, expected in ((levels, levels), (levels.long(), levels), (levels / 255, levels / 255)):
        given = images.permute(0, 2, 3, 1) if last else images
        found, _ = labelled_images((given, LABELS), real)
        assert torch.equal(found.images, expected)


def test_grey_images_without_an_axis_of_channels(digits):
    pixels = torch.rand(3, 8, 8, generator=rng(1))
    assert torch.equal(labelled_images((pixels, [0, 1, 2]), digits)[0].images, pixels[:, None])


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (FLOATS + 0.02, LABELS, "clamp them to [0, 1] if they are pixels, or say what they are (normalized_by;"),
        (FLOATS * 255, LABELS, "divide them by 255, or say what they are (normalized_by; 'none': pixels as they are)"),
        (FLOATS * 4 - 2, LABELS, "undo their normalisation (x * std + mean), or say what they are"),
        (FLOATS / 0, LABELS, "not finite"),
        (LEVELS.long() + 100, LABELS, "expected integers from 0 to 255, got int64"),
        ((LEVELS > 127).long(), LABELS, "got int64 of at most 1; multiply by 255 if 1 is white"),
        (FLOATS[:, :1], LABELS, "expected the shape (n, 3, 8, 8), as colours has; got (4, 1, 8, 8)"),
        (FLOATS[:0], [], "expected at least one, and a label of every image"),
        ([Image.new("RGB", (8, 8))] * 4, LABELS, "expected arrays, got a Pillow image"),
        ([np.zeros((8, 8, 3)), np.zeros((9, 9, 3))], [0, 1], "expected arrays of one shape"),
        (np.array(["a"]), [0], "expected pixels, got <U1"),
        (FLOATS, LABELS[:3], "expected 4 labels, as there are images; got 3"),
        (FLOATS, [3, 0, 1, 1], "expected labels below 3, for the classes cat, dog, emu; got 3 of image 0"),
        (FLOATS, [-1] * 4, "expected at least one, and a label of every image"),
        (FLOATS, ["fox", "cat", "dog", "dog"], "no class is named fox; the classes are cat, dog, emu"),
        (FLOATS, torch.full((4, 3), 1 / 3), "got soft labels"),
        (FLOATS, torch.eye(4), "expected one-hot labels of 3 classes, got 4"),
    ],
)
def test_what_is_not_clear_is_refused(real, images, labels, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        labelled_images(LabelledImages(images, labels), real)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", [FLOATS, None, {"images": FLOATS}, (FLOATS,)])
def test_what_is_no_pair_is_refused(real, source):
    with pytest.raises(InputError, match=r"Expected a set, a path, or LabelledImages\(images, labels\), got"):
        labelled_images(source, real)


def test_floats_outside_are_taken_by_name(real):
    outside = 1.2 * FLOATS - 0.1
    assert torch.equal(labelled_images((outside, LABELS), real, normalized_by="none")[0].images, outside)


def test_all_forms_are_evaluated_alike(digits):
    images = few(digits, 2)
    pixels, labels = images.train.labelled()
    one_hot = np.eye(10)[labels]
    expected = ncfm.evaluate(LabelledImages(pixels, labels), images, settings=SETTINGS).accuracies
    with pytest.warns(UserWarning, match="one-hot labels of 10 classes are numbered"):
        found = ncfm.evaluate((pixels.double().numpy()[:, 0], one_hot), images, settings=SETTINGS).accuracies
    assert found == expected
    with pytest.raises(InputError, match="divide them by 255, or say what they are"):
        ncfm.evaluate(LabelledImages(pixels * 255, labels), images, settings=SETTINGS)


def test_levels_as_floats_are_refused_by_the_students_too(digits):
    train = digits.train.labelled()
    options = {"num_classes": 10, "statistics": digits.statistics, "protocol": get_protocol("quick")}
    with pytest.raises(InputError, match=r"Expected images in \[0, 1\], got floats up to 255; divide by 255"):
        evaluate(LabelledImages(train.images * 255, train.labels), digits.test, **options)


def test_a_set_of_images_out_of_range_is_neither_saved_nor_exported_nor_evaluated(digits, tmp_path):
    wrong = synthetic().with_images(synthetic().images * 255)
    for use in (
        lambda: ncfm.save(wrong, tmp_path / "set", bits=8),
        lambda: ncfm.export(wrong, tmp_path / "images", to="png"),
        lambda: ncfm.evaluate(wrong, digits, settings=SETTINGS),
    ):
        with pytest.raises(InputError, match=r"The synthetic images: expected floats in \[0, 1\].* divide them by 255"):
            use()
    assert list(tmp_path.iterdir()) == []
