"""Small data sets of different fields, for the trial of the default settings. None is downloaded.

Each comes with a package, or lies in the folder of data (``NCFM_DATA``). The names are not those of data that have
recipes: the trial is of settings that follow from the data.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.seeding import generator
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.sources import load_images

PER_CLASS, TEST_PER_CLASS = 400, 100  # images at most
LETTERS = "abcdefghij"
SIDE = 16  # px of letters, textures and faces


@dataclass(frozen=True)
class TrialSet:
    """A data set of the trial."""

    name: str
    field: str
    held_out: bool  # whether its field was not looked at when the rules and recipes were made
    load: Callable[[], ImageSet]


def _part(split: ImageSplit, per_class: int) -> ImageSplit:
    return split.first(per_class)


def _small(data: str, name: str, **options: Any) -> ImageSet:
    """The first images of every class of data that are known by name, under another name."""
    images = load_images(data, **options)
    test = _part(images.require_test(), TEST_PER_CLASS)
    return replace(images, name=name, train=_part(images.train, PER_CLASS), test=test)


def _of_arrays(name: str, train: list[Tensor], test: list[Tensor], class_names: tuple[str, ...]) -> ImageSet:
    """A set from uint8 images (n, c, h, w) of every class."""

    def split(parts: list[Tensor]) -> ImageSplit:
        labels = torch.arange(len(parts)).repeat_interleave(torch.tensor([len(part) for part in parts]))
        return ImageSplit.of(torch.cat(parts), labels, len(parts))

    return ImageSet(name, split(train), split(test), class_names)


def letters() -> ImageSet:
    """Letters in the fonts that come with Matplotlib, moved and turned; every fourth font is for testing."""
    folder = Path(importlib.import_module("matplotlib").get_data_path()) / "fonts" / "ttf"
    fonts = [path for path in sorted(folder.glob("*.ttf")) if path.name.startswith(("DejaVu", "STIXGeneral", "cm"))]
    lacking = ("cmex", "cmsy", "DejaVuSansDisplay", "DejaVuSerifDisplay")  # letters
    fonts = [path for path in fonts if not path.name.startswith(lacking)]
    kinds = {True: fonts[::4], False: [path for i, path in enumerate(fonts) if i % 4]}
    drawn = {
        is_test: [_glyphs(letter, of_kind, TEST_PER_CLASS if is_test else PER_CLASS) for letter in LETTERS]
        for is_test, of_kind in kinds.items()
    }
    return _of_arrays("letters", drawn[False], drawn[True], tuple(LETTERS))


def _glyphs(letter: str, fonts: list[Path], count: int) -> Tensor:
    """A letter ``count`` times, in fonts, sizes, places and angles by chance: (count, 1, SIDE, SIDE)."""
    draws = torch.rand(count, 4, generator=generator(0, "letters", letter, len(fonts))).tolist()
    return torch.stack([_glyph(letter, fonts[i % len(fonts)], *draw) for i, draw in enumerate(draws)])[:, None]


def _glyph(letter: str, font: Path, size: float, x: float, y: float, angle: float) -> Tensor:
    canvas = Image.new("L", (4 * SIDE, 4 * SIDE))
    place = (2 * SIDE + 8 * (x - 0.5), 2 * SIDE + 8 * (y - 0.5))
    made = ImageFont.truetype(str(font), int(36 + 14 * size))
    ImageDraw.Draw(canvas).text(place, letter, fill=255, font=made, anchor="mm")
    small = canvas.rotate(24 * (angle - 0.5)).resize((SIDE, SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small).copy())


def _skimage() -> Any:
    try:
        return importlib.import_module("skimage.data")
    except ImportError as error:
        raise InputError("Textures and faces come with scikit-image: pip install scikit-image") from error


def textures() -> ImageSet:
    """Squares of photographs of brick, grass and gravel: from the left three quarters, tested on the right one."""
    names = ("brick", "grass", "gravel")
    whole = [torch.from_numpy(np.asarray(getattr(_skimage(), name)())) for name in names]
    edge = whole[0].shape[1] * 3 // 4
    train = [_squares(image[:, :edge], PER_CLASS, name) for name, image in zip(names, whole, strict=True)]
    test = [_squares(image[:, edge:], TEST_PER_CLASS, name) for name, image in zip(names, whole, strict=True)]
    return _of_arrays("textures", train, test, names)


def _squares(image: Tensor, count: int, name: str) -> Tensor:
    """Squares (count, 1, SIDE, SIDE) at random places of a grey image at half its size."""
    half = image[::2, ::2]
    top = torch.rand(count, 2, generator=generator(0, "textures", name, half.shape[1]))
    at = (top * (torch.tensor(half.shape) - SIDE)).long().tolist()
    return torch.stack([half[y : y + SIDE, x : x + SIDE] for y, x in at])[:, None]


def faces() -> ImageSet:
    """Faces and other squares of photographs (100 each), a fifth of them for testing."""
    pixels = torch.from_numpy(np.asarray(_skimage().lfw_subset()))[:, None].float()
    small = torch.nn.functional.interpolate(pixels, size=(SIDE, SIDE), mode="area")
    of_class = (small * 255).round().clamp(0, 255).to(torch.uint8).split(100)
    train, test = [part[:80] for part in of_class], [part[80:] for part in of_class]
    return _of_arrays("faces", train, test, ("face", "other"))


SETS = (
    TrialSet("handwriting", "digits, 8 px", False, lambda: replace(load_images("digits"), name="handwriting")),
    TrialSet("faces", "faces and others, 16 px", True, faces),
    TrialSet("textures", "materials, 16 px", True, textures),
    TrialSet("letters", "typefaces, 16 px", True, letters),
    TrialSet("clothing", "clothes, 16 px", False, lambda: _small("fashion-mnist", "clothing", image_size=16)),
    TrialSet("objects", "things in colour, 16 px", False, lambda: _small("cifar10", "objects", image_size=16)),
    TrialSet("photographs", "photographs, 24 px", True, lambda: _small("imagenette", "photographs", image_size=24)),
    TrialSet(
        "groups",
        "twenty groups of things, 16 px",
        True,
        lambda: _small("cifar100", "groups", image_size=16, label_column="coarse_label"),
    ),
)
