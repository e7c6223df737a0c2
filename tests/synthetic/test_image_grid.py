"""Pictures of sets, with every image in its place."""

import numpy as np
import pytest
import torch
from PIL import Image

from ncfm.synthetic.image_grid import BACKGROUND, GAP, LABEL_HEIGHT, image_grid, save_image_grid


def constant_images(classes, ipc, channels=3, size=8):
    """Every image one colour of its own."""
    levels = torch.linspace(0.1, 0.9, classes * ipc * channels).view(classes, ipc, channels, 1, 1)
    return levels.expand(classes, ipc, channels, size, size)


def colour(images, c, i):
    value = (images[c, i, :, 0, 0] * 255).round().int().tolist()
    return tuple(value * 3 if len(value) == 1 else value)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_row_for_each_class(channels):
    images, names = constant_images(4, 3, channels), [f"class {i}" for i in range(4)]
    picture = np.asarray(image_grid(images, names))
    tile = 96  # 12 times 8 pixels
    margin = picture.shape[1] - 3 * (tile + GAP) - GAP
    assert picture.shape == (4 * (tile + GAP) + GAP, picture.shape[1], 3)
    assert margin > 30  # room for the names
    for c in range(4):
        for i in range(3):
            top, left = GAP + c * (tile + GAP), margin + i * (tile + GAP)
            cell = picture[top : top + tile, left : left + tile].reshape(-1, 3)
            assert {tuple(map(int, p)) for p in np.unique(cell, axis=0)} == {colour(images, c, i)}
            assert tuple(picture[top + tile, left]) == BACKGROUND  # the gap below
            assert tuple(picture[top, left + tile]) == BACKGROUND  # and next to it


def test_classes_side_by_side_with_one_image_each():
    images = constant_images(7, 1)
    picture = np.asarray(image_grid(images, [str(i) for i in range(7)], max_columns=3))
    tile, cell = 96, 96 + LABEL_HEIGHT + GAP
    assert picture.shape == (3 * cell + GAP, 3 * (tile + GAP) + GAP, 3)  # 7 classes are 3 lines of 3
    for c in range(7):
        top, left = GAP + c // 3 * cell + LABEL_HEIGHT, GAP + c % 3 * (tile + GAP)
        part = picture[top : top + tile, left : left + tile].reshape(-1, 3)
        assert {tuple(map(int, p)) for p in np.unique(part, axis=0)} == {colour(images, c, 0)}
    assert (picture[2 * cell + GAP :, tile + 2 * GAP :] == BACKGROUND).all()  # the last line has one


@pytest.mark.parametrize(("size", "tile"), [(8, 96), (28, 112), (32, 96), (96, 96), (128, 128)])
def test_pixels_stay_square_and_sharp(size, tile):
    images = torch.zeros(1, 1, 1, size, size)
    images[..., 1] = 1  # the second column is white
    picture = np.asarray(image_grid(images, ["x"]))
    part = picture[GAP + LABEL_HEIGHT : GAP + LABEL_HEIGHT + tile, GAP : GAP + tile, 0]
    zoom = tile // size
    assert part.shape == (tile, tile)
    expected = np.zeros((tile, tile), dtype=np.uint8)
    expected[:, zoom : 2 * zoom] = 255
    assert (part == expected).all()


def test_only_so_many_columns_are_shown():
    wide, narrow = (image_grid(constant_images(2, ipc), ["a", "b"], max_columns=5).size for ipc in (50, 5))
    assert wide == narrow


def test_gradients_and_values_outside_do_not_matter():
    images = torch.tensor([-0.5, 1.5]).view(2, 1, 1, 1, 1).expand(2, 1, 3, 8, 8).clone().requires_grad_()
    picture = np.asarray(image_grid(images, ["a", "b"]))
    middle = GAP + LABEL_HEIGHT + 48
    assert tuple(picture[middle, GAP + 48]) == (0, 0, 0)
    assert tuple(picture[middle, GAP + 96 + GAP + 48]) == (255, 255, 255)


NAMES = [
    "a" * 300,
    "Größenmaßstäbe der Übergänge",
    "飛行機の写真を集めた長い名前のクラス",
    "🦊🐻‍❄️" * 20,
    "",
    " ",
    "ﬀ\u0301",
]


@pytest.mark.parametrize("ipc", [1, 2])
def test_any_class_name_can_be_written(ipc):
    short = image_grid(constant_images(len(NAMES), ipc), ["x"] * len(NAMES))
    picture = image_grid(constant_images(len(NAMES), ipc), NAMES)
    assert picture.size[1] == short.size[1]
    assert picture.size[0] < short.size[0] + 400  # long names are cut
    if ipc == 1:
        assert picture.size == short.size


def test_a_long_name_stays_above_its_own_image():
    images = torch.ones(2, 1, 1, 8, 8)
    with_long = np.asarray(image_grid(images, ["m" * 100, ""]))
    right = with_long[:, GAP + 96 + GAP :]
    assert (right == 255).all()  # no ink above the second image


@pytest.mark.parametrize(
    ("classes", "side", "shown"), [(51, 32, 10), (52, 32, 9), (100, 32, 5), (25, 64, 5), (9, 256, 1)]
)
def test_the_picture_of_many_pixels_has_fewer_images_of_each_class(classes, side, shown):
    images = torch.zeros(classes, 10, 1, side, side)
    width, height = image_grid(images, ["x"] * classes).size
    tile = {32: 96, 64: 128, 256: 256}[side]
    assert height == GAP + classes * (tile + GAP)
    assert shown == (width - GAP) // (tile + GAP)  # and a name of one letter


@pytest.mark.parametrize(("ipc", "side"), [(1, 32), (1, 64), (2, 32), (10, 8), (10, 32), (10, 64)])
def test_names_are_readable_on_a_telephone(ipc, side):
    names = ["automobile", "truck"] * 5
    images = torch.ones(10, ipc, 1, side, side)  # as white as the paper
    ink = np.asarray(image_grid(images, names).convert("L")) < 128
    rows = ink.any(axis=1)
    heights = np.diff(np.flatnonzero(np.diff(np.r_[0, rows, 0])))[::2]  # of the lines of text
    assert len(heights) == (10 if ipc > 1 else 2)
    # Letters with ascenders are three quarters of the size of the text.
    assert heights.min() / 0.75 * min(358 / ink.shape[1], 1) >= 8.5


def test_at_most_five_classes_stand_side_by_side():
    tall, wide = (image_grid(constant_images(classes, 1), ["x"] * classes).size for classes in (10, 5))
    assert tall[0] == wide[0]
    assert tall[1] > 1.9 * wide[1]


def test_a_saved_picture_is_the_picture(tmp_path):
    images = constant_images(3, 2)
    save_image_grid(tmp_path / "new" / "images.png", images, ["a", "b", "c"])
    with Image.open(tmp_path / "new" / "images.png") as saved:
        assert saved.format == "PNG"
        assert (np.asarray(saved) == np.asarray(image_grid(images, ["a", "b", "c"]))).all()


def test_names_are_drawn_in_their_own_letters():
    # A font without a letter draws the same box for all of them.
    pictures = [image_grid(torch.zeros(2, 2, 3, 8, 8), [name, "dog"]) for name in ("Käfer", "Köfer", "Kжfer")]
    assert len({picture.tobytes() for picture in pictures}) == 3
