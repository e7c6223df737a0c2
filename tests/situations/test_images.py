"""Image files as programs and cameras write them: the pixels that are read, and what is said of them.

Every row is a folder of two classes: the image of the row, and an ordinary one of the same size.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import ExifTags, Image

from situation import Refused, check_refusal, load, refused

COLOURS = np.array([[[0, 100, 200], [255, 0, 0]], [[8, 9, 10], [50, 60, 70]]], np.uint8)
GREY = np.array([[0, 90], [180, 255]], np.uint8)
ALPHA = np.array([[255, 0], [128, 51]], np.uint8)
OVER_WHITE = [[[0, 100, 200], [255, 255, 255]], [[131, 132, 132], [214, 216, 218]]]
DEEP = np.array([[0, 2048], [4095, 16]])  # 12 bits


def levels(array: np.ndarray) -> Image.Image:
    return Image.fromarray(array)


def with_alpha(array: np.ndarray) -> Image.Image:
    image = Image.fromarray(array)
    image.putalpha(Image.fromarray(ALPHA))
    return image


def palette() -> Image.Image:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    return image


def turned(path: Path) -> None:
    """A camera on its side: the first row of the file is the right column of the photograph."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    levels(COLOURS).save(path, exif=exif)


def pages(path: Path) -> None:
    levels(COLOURS).save(path, save_all=True, append_images=[levels(255 - COLOURS)])


class Row(NamedTuple):
    """An image file, and its pixels (h, w) or (h, w, 3) as read."""

    image: Image.Image | Callable[[Path], None]
    answer: list | Refused
    said: tuple[str, ...] = ()
    suffix: str = ".png"


BITS_12 = "train: 1 image with more than 8 bits: the largest value is 4,095, so 4,095 (12 bits) is read as white"
TABLE = {
    "RGB": Row(levels(COLOURS), COLOURS.tolist()),
    "grey": Row(levels(GREY), GREY.tolist()),
    "1 bit": Row(levels(GREY > 100), [[0, 0], [255, 255]]),
    "palette": Row(palette(), [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]]),
    "palette of a GIF": Row(palette(), [[[10, 20, 30], [40, 50, 60]], [[70, 80, 90], [40, 50, 60]]], (), ".gif"),
    "CMYK": Row(levels(COLOURS).convert("CMYK"), COLOURS.tolist(), (), ".tif"),
    "RGBA": Row(with_alpha(COLOURS), OVER_WHITE, ("train: 1 image with transparency: drawn over white",)),
    "LA": Row(with_alpha(GREY), [[0, 255], [217, 255]], ("train: 1 image with transparency: drawn over white",)),
    "EXIF": Row(turned, COLOURS[::-1].transpose(1, 0, 2).tolist()),
    "12 bits in 16": Row(levels(DEEP.astype(np.uint16)), [[0, 128], [255, 1]], (BITS_12,)),
    "12 bits in 32": Row(levels(DEEP.astype(np.int32)), [[0, 128], [255, 1]], (BITS_12,), ".tif"),
    "integers below 0": Row(
        levels(DEEP.astype(np.int32) - 100), refused("from -100 to 3995", "save it with 8 bits"), (), ".tif"
    ),
    "floats in [0, 1]": Row(
        levels((GREY / 255).astype(np.float32)),
        GREY.tolist(),
        ("train: 1 image of floats in [0, 1]: 1 is read as white",),
        ".tif",
    ),
    "floats to 255": Row(
        levels(GREY.astype(np.float32)), refused("floats from 0 to 255", "or as floats in [0, 1]"), (), ".tif"
    ),
    "several pages": Row(
        pages,
        COLOURS.tolist(),
        ("train: 1 image with several frames or pages: only one is read, of a file the first",),
        ".tif",
    ),
    "several frames": Row(
        pages, COLOURS.tolist(), ("train: 1 image with several frames or pages: only one is read, of a file the first",)
    ),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_situation(row, tmp_path):
    for name in ("ordinary", "own"):
        (tmp_path / name).mkdir()
    is_grey = not isinstance(row.answer, Refused) and np.ndim(row.answer) == 2
    levels(GREY if is_grey else COLOURS).save(tmp_path / "ordinary" / "0.png")
    path = tmp_path / "own" / f"1{row.suffix}"
    row.image.save(path) if isinstance(row.image, Image.Image) else row.image(path)
    if isinstance(row.answer, Refused):
        check_refusal(row.answer, lambda: load(tmp_path))
        return
    images = load(tmp_path)
    assert images.train.labels.tolist() == [0, 1]
    own = images.train.images[1]
    assert (own[0] if is_grey else own.permute(1, 2, 0)).tolist() == row.answer
    assert images.problems == row.said
