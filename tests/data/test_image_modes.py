"""Pillow images of every mode as 8-bit pixels: values by hand, and what is reported of them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from encoders import png_of_16_bits
from ncfm.data.image_modes import (
    DEEP,
    FLOATS,
    FRAMES,
    OPAQUE,
    TRANSPARENT,
    read_pixels,
    remarks_on,
    to_array,
    white_level,
)

COLOURS = np.array([[[0, 100, 200], [255, 1, 2]], [[9, 9, 9], [50, 60, 70]]], dtype=np.uint8)
ALPHA = np.array([[255, 0], [128, 51]], dtype=np.uint8)
OVER_WHITE = np.array([[[0, 100, 200], [255, 255, 255]], [[132, 132, 132], [214, 216, 218]]], dtype=np.uint8)


def saved(image, fmt="PNG", **options):
    """The image after a round trip through a file."""
    file = io.BytesIO()
    image.save(file, fmt, **options)
    return Image.open(file)


def with_alpha(array, alpha=ALPHA):
    image = Image.fromarray(array)
    image.putalpha(Image.fromarray(alpha))
    return image


def test_alpha_is_drawn_over_white():
    found = read_pixels(with_alpha(COLOURS))
    assert found.values.tolist() == OVER_WHITE.tolist()
    assert found.traits == {TRANSPARENT}
    assert to_array(with_alpha(COLOURS).convert("RGBa").convert("RGBA"))[0, 1].tolist() == [255, 255, 255]


def test_grey_stays_grey_over_white():
    found = read_pixels(with_alpha(COLOURS[..., 0]))
    assert found.values.tolist() == OVER_WHITE[..., 0].tolist()
    assert found.traits == {TRANSPARENT}


def test_opaque_alpha_changes_and_reports_nothing():
    found = read_pixels(with_alpha(COLOURS, np.full((2, 2), 255, np.uint8)))
    assert found.values.tolist() == COLOURS.tolist()
    assert found.traits == frozenset()


@pytest.mark.parametrize(
    ("image", "transparency", "expected"),
    [
        (Image.fromarray(COLOURS[..., 0]), 9, [[0, 255], [255, 50]]),
        (Image.fromarray(COLOURS), (50, 60, 70), [*COLOURS[:1].tolist(), [[9, 9, 9], [255] * 3]]),
        (Image.fromarray(COLOURS[..., 0] > 20), 0, [[255, 255], [255, 255]]),
    ],
    ids=["L", "RGB", "1"],
)
def test_one_transparent_colour_becomes_white(image, transparency, expected):
    found = read_pixels(saved(image, transparency=transparency))
    assert found.values.tolist() == expected
    assert found.traits == {TRANSPARENT}


def test_transparent_entries_of_a_palette_become_white():
    image = Image.fromarray(np.array([[0, 1], [2, 1]], dtype=np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    found = read_pixels(saved(image, transparency=bytes([255, 0, 51])))
    assert found.values.tolist() == [[[10, 20, 30], [255] * 3], [[218, 220, 222], [255] * 3]]
    assert found.traits == {TRANSPARENT}
    assert read_pixels(saved(image, "GIF", transparency=1)).values.tolist()[0] == [[10, 20, 30], [255] * 3]
    assert read_pixels(saved(image, "GIF", transparency=7)).traits == frozenset()  # a colour that no pixel has


def test_integers_of_more_than_8_bits_wait_for_the_white_of_all_images():
    levels = np.array([[0, 2048], [4095, 16]], dtype=np.uint16)
    for image in (Image.fromarray(levels), Image.fromarray(levels.astype(np.int32)), saved(Image.fromarray(levels))):
        assert read_pixels(image).values.tolist() == levels.tolist()
        assert to_array(image, white=4095).tolist() == [[0, 128], [255, 1]]
        assert to_array(image).tolist() == [[0, 8], [16, 0]]


@pytest.mark.parametrize(
    ("largest", "white"),
    [(0, 255), (255, 255), (256, 1023), (1024, 4095), (4095, 4095), (4096, 16383), (16384, 65535), (65535, 65535)],
)
def test_white_has_the_fewest_usual_bits(largest, white):
    assert white_level(largest) == white


@pytest.mark.parametrize("levels", [[[-1, 5]], [[0, 65536]]])
def test_integers_beyond_16_bits_are_refused(levels):
    with pytest.raises(ValueError, match=r"integer pixels go from .*, of which black and white are not known"):
        read_pixels(Image.fromarray(np.array(levels, dtype=np.int32)))


def test_floats_from_0_to_1_are_scaled():
    found = read_pixels(Image.fromarray(np.array([[0.0, 0.5], [1.0, 0.2]], dtype=np.float32)))
    assert found.values.tolist() == [[0, 128], [255, 51]]
    assert found.traits == {FLOATS}


@pytest.mark.parametrize("value", [1.01, -0.1, float("nan"), float("inf")])
def test_other_floats_are_refused(value):
    with pytest.raises(ValueError, match=r"floats from .* save it with 8 bits, by one scale"):
        read_pixels(Image.fromarray(np.array([[0.5, value]], dtype=np.float32)))


def test_the_first_frame_is_read():
    first, second = (Image.fromarray(np.full((2, 2), value, dtype=np.uint8)) for value in (10, 90))
    for fmt in ("GIF", "TIFF", "PNG", "WEBP"):
        options = {"lossless": True} if fmt == "WEBP" else {}
        found = read_pixels(saved(first, fmt, save_all=True, append_images=[second], **options))
        assert (found.values == 10).all(), fmt
        assert found.traits == {FRAMES}, fmt
        assert read_pixels(saved(first, fmt, **options)).traits == frozenset(), fmt


def test_colours_of_16_bits_are_known_by_their_file():
    values = (np.arange(12).reshape(2, 2, 3) * 5000).astype(np.uint16)
    found = read_pixels(Image.open(io.BytesIO(png_of_16_bits(values))))
    assert found.traits == {DEEP}
    assert np.abs(found.values - np.rint(values / 257)).max() <= 1


def test_a_transparent_colour_of_16_bits_is_reported():
    levels = Image.fromarray(np.array([[0, 300]], dtype=np.uint16))
    levels.info["transparency"] = 300
    assert read_pixels(levels).traits == {OPAQUE}


def test_an_image_in_memory_is_not_changed():
    image = with_alpha(COLOURS)
    exif = image.getexif()
    exif[0x0112] = 6
    turned = to_array(image)
    assert turned.tolist() == np.rot90(OVER_WHITE, -1).tolist()
    assert image.getexif()[0x0112] == 6
    assert (image.mode, np.asarray(image)[..., :3].tolist()) == ("RGBA", COLOURS.tolist())


def test_remarks_count_images():
    traits = [frozenset({TRANSPARENT, FRAMES}), frozenset({FRAMES}), frozenset({DEEP}), frozenset()]
    assert remarks_on(traits) == [
        "1 image with transparency: drawn over white",
        "2 images with several frames or pages: only one is read, of a file the first",
    ]
