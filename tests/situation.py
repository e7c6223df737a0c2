"""Answers to a situation: what is read, image by image, and what is said; or the sentence of a refusal."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import ncfm
from image_files import picture
from ncfm._utils.checks import InputError
from ncfm.data.image_set import ImageSet, ImageSplit


class Reads(NamedTuple):
    """Pictures (see `image_files.picture`) by number, in each class that has any, and all remarks.

    A refusal or a remark may name the folder as ``{}``.
    """

    train: dict[str, list[int]]
    test: dict[str, list[int]] | None = None
    said: tuple[str, ...] = ()


class Refused(NamedTuple):
    """Parts of the one sentence: what is wrong, and what to do."""

    parts: tuple[str, ...]


def refused(*parts: str) -> Refused:
    """A refusal in which all of these parts occur."""
    return Refused(parts)


@cache
def _known(size: int, grey: bool) -> dict[bytes, int]:
    return {picture(number, size, grey=grey).tobytes(): number for number in range(300)}


def pictures_of(split: ImageSplit, names: tuple[str, ...]) -> dict[str, list[int]]:
    """The numbers of the pictures of each class, by their decoded pixels; -1 for none of them."""
    found: dict[str, list[int]] = {}
    for image, label in zip(split.images, split.labels.tolist(), strict=True):
        grey, size = len(image) == 1, image.shape[-1]
        pixels = (image[0] if grey else image.permute(1, 2, 0)).contiguous().numpy().tobytes()
        found.setdefault(names[label], []).append(_known(size, grey).get(pixels, -1))
    return {name: sorted(numbers) for name, numbers in found.items()}


def check(answer: Reads | Refused, load: Callable[[], ImageSet], place: Path | str = "") -> None:
    """Compare a dataset, or why it is not read, with the right answer."""
    if isinstance(answer, Refused):
        check_refusal(answer, load, place)
        return
    images = load()
    assert pictures_of(images.train, images.class_names) == answer.train
    assert (None if images.test is None else pictures_of(images.test, images.class_names)) == answer.test
    assert list(images.problems) == [line.replace("{}", str(place)) for line in answer.said]


def check_refusal(answer: Refused, action: Callable[[], Any], place: Path | str = "") -> None:
    """Check that an action ends with one line that has all parts."""
    with pytest.raises(InputError) as stopped:
        action()
    message = str(stopped.value)
    assert "\n" not in message
    for part in answer.parts:
        assert part.replace("{}", str(place)) in message, message


def load(place: Path | str, **options: Any) -> ImageSet:
    """`ncfm.load_images` of a path."""
    return ncfm.load_images(str(place), **options)
