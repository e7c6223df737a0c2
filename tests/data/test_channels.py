"""Images of any number of channels: which axis they are, and which of them become each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ncfm._utils.checks import InputError
from ncfm.data import images_of, load_images
from ncfm.data.channels import channels_last


def arrays(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "wanted", "axis"),
    [
        ((8, 8, 3), None, 2),
        ((3, 8, 8), None, 0),
        ((1, 8, 8), None, 0),
        ((3, 8, 3), None, 2),  # as ever
        ((3, 8, 8), 1, 0),  # grey or RGB are asked of images of either
        ((4, 8, 8), None, 0),
        ((8, 8, 4), None, 2),
        ((2, 9, 8), None, 0),
        ((12, 16, 16), None, 0),
        ((16, 16, 20), 20, 2),
        ((16, 8, 8), 16, 0),
        ((2, 1, 1), 2, 0),
    ],
)
def test_the_axis_of_the_channels(shape, wanted, axis):
    pixels = arrays(*shape)
    assert np.array_equal(channels_last(pixels, wanted, "it"), pixels if axis == 2 else pixels.transpose(1, 2, 0))


@pytest.mark.parametrize(("shape", "wanted"), [((4, 4, 4), None), ((16, 16, 20), None), ((4, 4, 4), 4), ((4, 8, 4), 4)])
def test_an_axis_that_is_not_clear_is_refused(shape, wanted):
    with pytest.raises(InputError, match=r"not clear which axis is c; state the number of channels \(data.channels\)"):
        channels_last(arrays(*shape), wanted, "it")


@pytest.mark.parametrize("channels", [2, 4, 13])
@pytest.mark.parametrize("last", [False, True])
def test_arrays_of_other_channels_keep_their_pixels(channels, last):
    stored = arrays(6, channels, 16, 16)
    given = stored.transpose(0, 2, 3, 1) if last else stored
    found = images_of((given, [0, 1] * 3), ([given[0]], [1]))
    assert found.channels == channels
    assert torch.equal(found.train.images, torch.from_numpy(stored[[0, 2, 4, 1, 3, 5]]))
    assert torch.equal(found.test.images, torch.from_numpy(stored[:1]))
    assert len(found.statistics.mean) == channels


def test_float_tensors_of_four_channels():
    stored = torch.from_numpy(arrays(4, 4, 8, 8))
    found = images_of(torch.utils.data.TensorDataset(stored / 255, torch.tensor([0, 1, 0, 1])))
    assert torch.equal(found.train.images, stored[[0, 2, 1, 3]])


def test_four_channels_do_not_become_three_unasked():
    with pytest.raises(
        InputError, match=r"Could not make 3 channels of image number 0 .*as 4 channels.*data.channels=4"
    ):
        images_of((arrays(4, 8, 8, 4), [0, 1, 0, 1]), channels=3)


def test_a_mixture_is_refused_unless_of_grey_and_rgb():
    mixed = [(arrays(8, 8, 4), 0), (arrays(8, 8, 3), 1)]
    with pytest.raises(InputError, match="the images have 3 and 4 channels; give all of them the same"):
        images_of(mixed)
    assert images_of([(arrays(8, 8), 0), (arrays(8, 8, 3), 1)]).channels == 3


def write_files(root, mode):
    """Two classes of two files of 8 px in a Pillow mode, filled with `arrays` of seeds 0 to 3."""
    for index, name in enumerate("ab"):
        (root / name).mkdir()
        for i in range(2):
            bands = arrays(8, 8, len(mode), seed=2 * index + i)
            image = Image.merge(mode, [Image.fromarray(band) for band in bands.transpose(2, 0, 1)])
            image.save(root / name / f"{i}.tif")


@pytest.mark.parametrize(("mode", "usual"), [("RGBA", 3), ("CMYK", 3), ("LA", 1)])
def test_files_keep_the_channels_that_they_store_if_asked(tmp_path, mode, usual):
    write_files(tmp_path, mode)
    found = load_images(str(tmp_path), channels=len(mode))
    expected = np.stack([arrays(8, 8, len(mode), seed=i) for i in range(4)]).transpose(0, 3, 1, 2)
    assert torch.equal(found.train.images, torch.from_numpy(expected))
    assert load_images(str(tmp_path)).channels == usual


def test_files_of_other_channels_are_refused_by_name(tmp_path):
    write_files(tmp_path, "RGBA")
    Image.fromarray(arrays(8, 8, 3)).save(tmp_path / "b" / "2.png")
    with pytest.raises(InputError, match=r"Could not make 4 channels of .*2.png, read as RGB.*data.channels=3"):
        load_images(str(tmp_path), channels=4)
