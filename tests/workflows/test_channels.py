"""Images of two and of four channels through a whole run: distil, evaluate, report, export."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import ncfm
from ncfm._utils.checks import InputError
from ncfm.data import images_of
from ncfm.formats.reading import read_external
from ncfm.report.inline import picture, strip
from tiny import SETTINGS

NAMES = ("low", "high", "last")


def images_with(channels):
    """Three classes of 8 px: bright in the first channel, in the second, or in the last."""
    draw = np.random.default_rng(channels)
    labels = np.arange(3).repeat(8)
    pixels = draw.integers(0, 120, (24, channels, 8, 8), dtype=np.uint8)
    for i, label in enumerate(labels):
        pixels[i, (0, 1, channels - 1)[label], 2 * label : 2 * label + 3] = 250
    return images_of((pixels, labels), (pixels[::2], labels[::2]), class_names=NAMES, name="bands")


@pytest.mark.parametrize("channels", [2, 4])
def test_a_whole_run(channels, tmp_path):
    real, run = images_with(channels), tmp_path / "run"
    result = ncfm.distill(real, ipc=2, recipe="none", settings=SETTINGS, out=run)
    assert result.synthetic.images.shape == (3, 2, channels, 8, 8)
    assert (result.synthetic.images != result.start.images).flatten(3).any(-1).all()  # every channel has learned
    assert ncfm.evaluate(run, on=real, settings=SETTINGS).num_images == 3 * 2 * 4
    again = ncfm.load(run)
    assert ncfm.evaluate(again.decoded(), real, settings=SETTINGS).network == SETTINGS["evaluate.network"]
    assert torch.equal(again.images, result.synthetic.images)

    ncfm.export(run, tmp_path / "set.npz", to="npz", bits=32)
    exported = read_external(tmp_path / "set.npz", real)
    assert torch.equal(exported.images.images, again.decoded().images)
    assert torch.equal(exported.images.labels, again.decoded().labels)
    for to in ("png", "hf"):
        with pytest.raises(InputError, match=f"the set has {channels} channels; choose ncfm, npz or pt"):
            ncfm.export(run, tmp_path / to, to=to)
        assert not (tmp_path / to).exists()

    page = ncfm.write_report(run, on=real).path.read_text()
    shown = "the first is shown" if channels == 2 else "the first three are shown as RGB"
    assert f"Of {channels} channels {shown}" in page
    Image.open(run / "images.png").verify()


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_pictures_show_the_first_three_channels_or_the_first(channels):
    image = torch.arange(channels * 4, dtype=torch.uint8).view(channels, 2, 2)
    seen = image[:3].permute(1, 2, 0) if channels >= 3 else image[0]
    assert np.array_equal(np.asarray(picture(image)), seen.numpy())
    bands = strip([image, image]).split()
    assert np.array_equal(np.asarray(bands[0])[:, :2], image[0].numpy())
    assert len(bands) == (4 if channels >= 3 else 2)  # with alpha


def test_the_command_reads_four_channels_of_a_folder(tmp_path, ncfm_):
    draw = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "tiles" / name).mkdir(parents=True)
        for i in range(6):
            pixels = Image.fromarray(draw.integers(0, 256, (8, 8, 4), dtype=np.uint8))
            pixels.save(tmp_path / "tiles" / name / f"{i}.tif")
    done = ncfm_("data", tmp_path / "tiles", "--set", "data.channels=4", "--picture", tmp_path / "card.png")
    assert "8 x 8 px, 4 channels" in done.out
    assert "RGB" in ncfm_("data", tmp_path / "tiles").out
    refused = ncfm_("data", tmp_path / "tiles", "--set", "data.channels=2")
    assert refused.code == 2
    assert "Could not make 2 channels of" in refused.err
    assert (
        "data.channels: input should be greater than or equal to 1, got 0"
        in ncfm_("data", tmp_path / "tiles", "--set", "data.channels=0").err
    )
