"""Pixels in memory: every range is read as what it can only be, or refused with the remedy."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

from ncfm._utils.checks import InputError
from ncfm.data import images_of
from ncfm.data.pixels import PixelReader, as_array, remedy

FLOATS = torch.rand(3, 4, 4, generator=torch.Generator().manual_seed(0))


def normalised(pixels, mean, std):
    return (pixels - mean) / std


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (FLOATS / FLOATS.max() * 1.03, "clamp them to [0, 1] if they are pixels"),
        (FLOATS - 0.04, "clamp them to [0, 1] if they are pixels"),
        (normalised(FLOATS, 0.5, 0.5), "undo their normalisation (x * std + mean)"),
        (normalised(FLOATS, 0.4914, 0.2023), "undo their normalisation (x * std + mean)"),
        (FLOATS * 255 - 128, "undo their normalisation (x * std + mean)"),
        (FLOATS * 16, "or divide them by the level of white"),  # as scikit-learn's digits
        ((FLOATS * 255).round(), "divide them by 255"),
        (FLOATS.double().numpy() * 255, "divide them by 255"),
        (FLOATS.half() * 255, "divide them by 255"),
        ((FLOATS * 65535).round(), "divide them by the level of white, such as 65535 of 16 bits"),
        (torch.where(FLOATS > 0.9, torch.nan, FLOATS), "values that are NaN or infinity; clean or leave out"),
        (FLOATS / 0, "48 of 48 values that are NaN or infinity"),
        ((FLOATS * 255).long() + 100, "expected integers from 0 to 255, got int64 from 1"),
        (-(FLOATS * 100).long(), "expected integers from 0 to 255, got int64 from -"),
        ((FLOATS * 65535).numpy().astype(np.uint16), "such as 65535 of 16 bits, to get floats in [0, 1]"),
        (FLOATS.numpy() * 1j, "expected pixels, got complex64"),
        (["no", "pixels"], "expected pixels, got <U6"),
        (np.zeros((0, 4)), "expected pixels, got float64 of shape (0, 4)"),
        ([[1, 2], [3]], "expected an array, got list"),
        (np.zeros(16, np.uint8), "expected the shape (h, w), (h, w, c) or (c, h, w), got (16,); reshape it"),
        (np.zeros((4, 4, 4), np.uint8), "(4, 4, 4), where it is not clear which axis is c; state the number"),
        (np.zeros((1, 3, 4, 4), np.uint8), "got (1, 3, 4, 4); reshape it, or give Pillow images"),
        (7, "got ()"),
    ],
)
def test_pixels_out_of_range_and_shape_are_refused(pixels, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        PixelReader("train")(pixels, 3)
    assert str(caught.value).startswith("train: image 3: expected")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_floats_become_the_nearest_level(dtype):
    levels = torch.tensor([[0, 51, 127.4], [127.6, 254.4, 255]], dtype=torch.float64)
    found = PixelReader("train")((levels / 255).to(dtype), 0)
    exact = dtype in (torch.float32, torch.float64)
    assert found.dtype == np.uint8
    np.testing.assert_allclose(found, [[0, 51, 127], [128, 254, 255]], atol=0 if exact else 1)


def test_every_level_of_half_precision_is_exact():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(PixelReader("train")(torch.from_numpy(levels / 255).half(), 0), levels)


def test_bools_are_black_and_white():
    reader = PixelReader("train")
    assert reader(np.eye(4, dtype=bool), 0).tolist() == (np.eye(4, dtype=int) * 255).tolist()
    assert reader.remarks() == ("bool pixels are taken as black and white",)


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int8])
def test_integers_that_may_be_levels_or_black_and_white_are_refused(dtype):
    with pytest.raises(InputError, match=rf"got {np.dtype(dtype)} of at most 1; multiply by 255 if 1 is white"):
        images_of((np.ones((2, 4, 4), dtype), [0, 1]))


def test_nearly_black_images_are_remarked():
    images = images_of((np.ones((2, 4, 4), np.uint8), [0, 1]))
    assert images.problems == (
        "train: no pixel is above level 1 of 255, so that the images are nearly black; scale them if 1 is white",
    )
    twice_divided = images_of((np.full((2, 4, 4), 200 / 255 / 255), [0, 1]))
    assert twice_divided.problems == images.problems


def test_frames_of_a_pillow_image_are_remarked(tmp_path):
    frames = [Image.new("L", (4, 4), level) for level in (10, 200)]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "two.gif") as image:
        images = images_of([(image, 0), (image, 1)])
    assert images.problems == ("train: 2 images with several frames or pages: only one is read, of a file the first",)
    assert images.train.images.unique().tolist() == [10]


def test_pillow_images_are_no_arrays():
    with pytest.raises(InputError, match="expected arrays, got a Pillow image"):
        as_array(Image.new("P", (4, 4)), "x")


@pytest.mark.parametrize(("low", "high"), [(-0.05, 1.05), (0, 1.00002)])
def test_what_is_just_outside_may_be_clamped_by_the_caller(low, high):
    assert remedy(low, high) == "clamp them to [0, 1] if they are pixels"
