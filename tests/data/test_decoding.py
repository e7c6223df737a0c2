"""What a whole split decides: the white of integer pixels, the choices that are reported, images of every source."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from encoders import encoded, png_of_16_bits
from ncfm._utils.checks import NcfmError
from ncfm.data.decoding import CHUNK, decode_all


def flat(value, dtype=np.uint16):
    return np.full((2, 2), value, dtype)


def levels_of(decoded):
    return decoded.images[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(("dtype", "fmt"), [(np.uint16, "PNG"), (np.uint16, "TIFF"), (np.int32, "TIFF")])
def test_the_largest_value_of_all_images_is_the_scale_of_all(dtype, fmt):
    """12 bits in 16: no image is scaled by its own range, which would erase their brightness."""
    decoded = decode_all([encoded(flat(value, dtype), fmt) for value in (0, 16, 2048, 4090)])
    assert levels_of(decoded) == [0, 1, 128, 255]
    assert decoded.white == 4095
    assert decoded.remarks == (
        "4 images with more than 8 bits: the largest value is 4,090, so 4,095 (12 bits) is read as white",
    )


def test_images_of_8_bits_are_not_scaled_with_the_others():
    files = [encoded(flat(200, np.uint8)), encoded(flat(1023)), encoded(flat(100, np.uint8)), encoded(flat(512))]
    assert levels_of(decode_all(files)) == [200, 255, 100, 128]


def test_images_that_wait_come_back_to_their_rows():
    count = 2 * CHUNK + 3
    files = [encoded(flat(i, np.uint8) if i % 2 else flat(257 * i)) for i in range(count)]
    order = torch.arange(count).flip(0)
    assert levels_of(decode_all(files, order=order)) == list(range(count))[::-1]


def test_test_images_have_the_white_of_the_training_images():
    assert levels_of(decode_all([encoded(flat(200))], white=4095)) == [12]
    with pytest.raises(NcfmError, match="pixels go up to 5,000, but in the training images 4,095 is read as white"):
        decode_all([encoded(flat(5000))], white=4095)


def test_choices_are_counted():
    grey = Image.fromarray(flat(100, np.uint8))
    clear = grey.copy()
    clear.putalpha(51)
    frames = encoded(grey, "GIF", save_all=True, append_images=[Image.fromarray(flat(9, np.uint8))])
    floats = encoded(flat(0.5, np.float32), "TIFF")
    decoded = decode_all([encoded(clear), encoded(clear), frames, floats, encoded(grey)])
    assert levels_of(decoded) == [224, 224, 100, 128, 100]
    assert decoded.remarks == (
        "2 images with transparency: drawn over white",
        "1 image with several frames or pages: only one is read, of a file the first",
        "1 image of floats in [0, 1]: 1 is read as white",
    )


def test_colours_of_12_bits_in_16_are_refused():
    """Pillow reads the upper 8 of 16 bits: 16 levels would be left, all nearly black."""
    dark, bright = (png_of_16_bits(np.full((2, 2, 3), value, np.uint16)) for value in (4095, 51400))
    assert levels_of(decode_all([dark, bright])) == [15, 200]
    with pytest.raises(NcfmError, match=r"largest value of 2 images is below 4,096 of 65,535; save them with 8 bits"):
        decode_all([dark, dark])


def test_pillow_images_are_read_like_files():
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(np.arange(16, dtype=np.uint8).reshape(4, 4), exif=exif.tobytes())))
    expected = np.rot90(np.arange(16).reshape(4, 4), -1)
    assert decode_all([image]).images[0, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("content", [b"", b"GIF89a", b"\x89PNG\r\n\x1a\n", b"SIMPLE  =", b"\x01\xda" * 9, b"8BPS" * 9])
def test_damaged_files_of_any_format_are_named(content):
    with pytest.raises(NcfmError, match="Could not read image number 1 of"):
        decode_all([encoded(flat(1, np.uint8)), content])
