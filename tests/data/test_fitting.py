"""Images that are not square: cropped, padded or stretched, pixel by pixel; and what is said about them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import ncfm
from ncfm._utils.checks import InputError
from ncfm.data import images_of, load_images
from ncfm.data.assembly import Wanted
from ncfm.data.fitting import BACKGROUND, FITS, Fitter
from tiny import SETTINGS

COLUMNS = np.tile(np.array([10, 20, 30, 40, 50, 60, 70, 80], np.uint8), (4, 1))  # 8 wide, 4 high


def fitted(pixels, fit, size, channels=1):
    return Fitter(size, channels, fit)(pixels, "the image").transpose(2, 0, 1)


def test_crop_keeps_the_centre():
    assert np.array_equal(fitted(COLUMNS, "crop", 4)[0], COLUMNS[:, 2:6])
    assert np.array_equal(fitted(COLUMNS.T, "crop", 4)[0], COLUMNS.T[2:6])


def test_pad_keeps_all_and_adds_black_bars():
    whole = np.full((8, 8), BACKGROUND, np.uint8)
    whole[2:6] = COLUMNS
    assert BACKGROUND == 0
    assert np.array_equal(fitted(COLUMNS, "pad", 8)[0], whole)
    assert np.array_equal(fitted(COLUMNS.T, "pad", 8)[0], whole.T)


def test_pad_resizes_the_long_side():
    shrunk = np.asarray(Image.fromarray(COLUMNS).resize((4, 2), Image.Resampling.BICUBIC))
    got = fitted(COLUMNS, "pad", 4)[0]
    assert np.array_equal(got[1:3], shrunk)
    assert (got[[0, 3]] == BACKGROUND).all()


def test_stretch_resizes_both_sides():
    rows = np.repeat(COLUMNS, 2, axis=0)
    assert np.array_equal(fitted(COLUMNS, "stretch", 8)[0], rows)  # equal rows stay equal
    assert np.array_equal(fitted(COLUMNS.T, "stretch", 8)[0], rows.T)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_every_channel_is_fitted_like_a_grey_image(fit, channels):
    pixels = np.random.default_rng(channels).integers(0, 256, (5, 9, channels), dtype=np.uint8)
    got = fitted(pixels, fit, 6, channels)
    for channel in range(channels):
        alone = fitted(np.ascontiguousarray(pixels[..., channel]), fit, 6)[0]
        assert np.array_equal(got[channel], alone)


@pytest.mark.parametrize("fit", FITS)
def test_square_images_are_the_same_by_every_fit(fit):
    square = COLUMNS[:, :4]
    assert np.array_equal(fitted(square, fit, 4)[0], square)
    assert np.array_equal(fitted(square, fit, 8)[0], fitted(square, "crop", 8)[0])


def test_only_what_was_cropped_is_counted():
    fitter = Fitter(4, 1, "crop")
    for pixels in (COLUMNS, COLUMNS[:, :5], COLUMNS[:, :4]):
        fitter(pixels, "the image")
    (remark,) = fitter.remarks()
    assert "2 images not square, cropped to the centre (up to 50 % of the area lost" in remark
    for fit in ("pad", "stretch"):
        fitter = Fitter(4, 1, fit)
        fitter(COLUMNS, "the image")
        assert fitter.remarks() == ()


def test_an_unknown_fit_is_refused():
    with pytest.raises(InputError, match=r"Unknown data.fit 'squash'.*crop, pad, stretch"):
        images_of((np.stack([COLUMNS] * 2), [0, 1]), image_size=4, fit="squash")
    with pytest.raises(InputError, match=r"Unknown data.fit 'padd'. Did you mean 'pad'"):
        load_images("digits", fit="padd")


@pytest.fixture
def wide(tmp_path):
    """A folder of two classes of images 8 x 4, one of them square in the training split."""
    for split, count in (("train", 3), ("test", 1)):
        for name in "ab":
            folder = tmp_path / "wide" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = COLUMNS[:, :4] if (name, i) == ("a", 2) else COLUMNS + i
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return tmp_path / "wide"


def test_a_folder_is_read_by_each_fit_and_cached_by_it(wide):
    read = {fit: load_images(str(wide), image_size=8, fit=fit) for fit in (*FITS, *FITS)}
    assert read["crop"].problems == (
        "train: 5 images not square, cropped to the centre (up to 50 % of the area lost; data.fit=pad or stretch keeps "
        "all of it)",
        "test: 2 images not square, cropped to the centre (up to 50 % of the area lost; data.fit=pad or stretch keeps "
        "all of it)",
    )
    assert read["pad"].problems == read["stretch"].problems == ()
    first = {fit: images.train.images[0, 0] for fit, images in read.items()}
    assert torch.equal(first["pad"][2:6], torch.from_numpy(COLUMNS))
    assert torch.equal(first["stretch"], torch.from_numpy(COLUMNS).repeat_interleave(2, 0))
    assert len({images.fingerprint for images in read.values()}) == 3


def test_the_fit_is_part_of_the_cache_key():
    assert len({repr(Wanted(8, 1, 0.0, fit)) for fit in FITS}) == 3


def test_arrays_are_fitted_as_files_are(wide):
    arrays = np.stack([COLUMNS, COLUMNS + 1])
    found = images_of((arrays, [0, 1]), image_size=8, fit="pad")
    assert torch.equal(found.train.images[1, 0, 2:6], torch.from_numpy(COLUMNS + 1))


@pytest.mark.filterwarnings("ignore:.*classes have fewer than:UserWarning")
def test_the_run_and_the_set_record_the_fit(wide, tmp_path):
    settings = SETTINGS | {"data.image_size": 8, "data.fit": "pad", "distill.factor": 1}
    result = ncfm.distill(str(wide), ipc=1, recipe="none", settings=settings, out=tmp_path / "run")
    assert ncfm.load(tmp_path / "run").facts["config"]["data"]["fit"] == "pad"
    assert result.synthetic.facts["variant"].count("data.fit=pad") == 1
    other = settings | {"data.fit": "stretch"}
    with pytest.raises(InputError, match=r"config.data.fit was 'pad', now 'stretch'"):
        ncfm.distill(str(wide), ipc=1, recipe="none", settings=other, out=tmp_path / "run", resume=True)
