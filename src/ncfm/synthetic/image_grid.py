"""Grids of images as a picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ncfm._utils.files import write_atomically
from ncfm.data.channels import visible
from ncfm.data.levels import to_uint8

TILE = 96  # minimum side of an image in the picture, in pixels
MOST_PIXELS = 2**19  # of all images in one picture: 512 images of 32 x 32 pixels, a file of 2 MB
GAP = 4
SIDE_BY_SIDE = 5  # classes in a row, if each has one image: more are too narrow for their names
NAME_LENGTH = 18  # characters of a name that are shown next to images
TEXT = 12  # pixels of a name, at least
LABEL_HEIGHT = 18  # of a name above an image, in text of that size
READABLE = 9 / 358  # minimum ratio of the text to the width: 9 pixels on a telephone of 390
FONT = "mpl-data/fonts/ttf/DejaVuSans.ttf"  # in the folder of matplotlib, which is not imported for it
BACKGROUND, INK = (255, 255, 255), (40, 40, 40)


def image_grid(
    images: Tensor, class_names: Sequence[str], *, max_columns: int = 10, counts: Sequence[int] | None = None
) -> Image.Image:
    """A picture of a synthetic set: one row per class, or, with one image per class, the classes next to each other.

    Args:
        images: (C, ipc, c, h, w) in [0, 1].
        class_names: C names, written next to or above the images.
        max_columns: maximum of images per class. Fewer images per class are shown, the first ones, if all classes
            together would exceed `MOST_PIXELS`. With one image per class, maximum of classes per row, of which there
            are at most `SIDE_BY_SIDE`.
        counts: images of each class, if they are unequal.
    """
    classes, ipc = images.shape[:2]
    if ipc == 1:
        return _side_by_side(images[:, 0], class_names, max_columns)
    shown = min(ipc, max_columns, max(MOST_PIXELS // (classes * images[0, 0, 0].numel()), 1))
    tile = _tile(images.shape[-1])
    names = [name[:NAME_LENGTH] for name in class_names]
    font = _font(_text_size(shown * (tile + GAP) + GAP, names, tile))
    margin = 8 + max(int(font.getlength(name)) for name in names)
    canvas = Image.new("RGB", (margin + shown * (tile + GAP) + GAP, classes * (tile + GAP) + GAP), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for row in range(classes):
        top = GAP + row * (tile + GAP)
        draw.text((4, top + tile // 2), names[row], fill=INK, font=font, anchor="lm")
        for column in range(shown if counts is None else min(shown, counts[row])):
            canvas.paste(_picture(images[row, column], tile), (margin + column * (tile + GAP), top))
    return canvas


def _side_by_side(images: Tensor, class_names: Sequence[str], max_columns: int) -> Image.Image:
    tile = _tile(images.shape[-1])
    columns = min(len(images), max_columns, SIDE_BY_SIDE)
    rows = -(-len(images) // columns)
    size = _text_size(columns * (tile + GAP) + GAP, [], tile)
    label_height = round(size * LABEL_HEIGHT / TEXT)
    cell = tile + label_height + GAP
    canvas = Image.new("RGB", (columns * (tile + GAP) + GAP, rows * cell + GAP), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    font = _font(size)
    for index, image in enumerate(images):
        left, top = GAP + index % columns * (tile + GAP), GAP + index // columns * cell
        label = class_names[index]
        while font.getlength(label) > tile and len(label) > 1:
            label = label[:-2] + "…" if len(label) > 2 else label[:1]
        draw.text((left + tile // 2, top + label_height // 2), label, fill=INK, font=font, anchor="mm")
        canvas.paste(_picture(image, tile), (left, top + label_height))
    return canvas


def _text_size(width: int, names: Sequence[str], tile: int) -> int:
    """Pixels of text that is readable on a telephone, in a picture of so many pixels of images next to names."""
    longest = max((_font(TEXT).getlength(name) for name in names), default=0) / TEXT  # in units of the size
    size = READABLE * width / max(1 - READABLE * longest, 0.1)
    return max(min(round(size), tile // 3), TEXT)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """A font with the letters of most alphabets, which matplotlib brings: Pillow's own has little beyond ASCII."""
    found = find_spec("matplotlib")
    fonts = [Path(place) / FONT for place in (found and found.submodule_search_locations) or []]
    if not fonts or not fonts[0].is_file():
        return ImageFont.load_default(size=size)
    return ImageFont.truetype(
        fonts[0], size=size, layout_engine=ImageFont.Layout.BASIC
    )  # takes any text, also surrogates


def _tile(image_size: int) -> int:
    """Side in the picture: an integer multiple of the image's, so that pixels remain square and sharp."""
    return image_size * max(-(-TILE // image_size), 1)


def _picture(image: Tensor, tile: int) -> Image.Image:
    """One (c, h, w) image in [0, 1], its `visible` channels, enlarged without smoothing."""
    pixels = to_uint8(visible(image).detach().cpu()).permute(1, 2, 0).numpy()
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return Image.fromarray(pixels).resize((tile, tile), Image.Resampling.NEAREST)


def save_image_grid(
    path: Path, images: Tensor, class_names: Sequence[str], *, counts: Sequence[int] | None = None
) -> None:
    """Write `image_grid` as PNG, atomically."""
    buffer = io.BytesIO()
    image_grid(images, class_names, counts=counts).save(buffer, format="PNG")
    write_atomically(path, lambda p: _write(p, buffer.getvalue()))


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
