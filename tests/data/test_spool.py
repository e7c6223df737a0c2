"""Images that can be read only once are kept as they are, in a file if they are many."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ncfm._utils.checks import RunError
from ncfm._utils.files import cache_dir
from ncfm.data import images_of, store
from ncfm.data.spool import Spool


@pytest.mark.parametrize("limit", [2**30, 100], ids=["in memory", "in a file"])
def test_images_come_back_as_they_were(monkeypatch, limit):
    monkeypatch.setattr(store, "HELD_BYTES", limit)
    array = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    picture = Image.fromarray(array)
    picture.info["transparency"] = (1, 2, 3)
    with Spool() as spool:
        for image in (array, b"contents", picture):
            spool.append(image)
        assert len(spool) == 3
        first, second, third = spool.read(0, 3)
        assert spool.read(1, 2) == [b"contents"]
        spool.append(b"more")  # after reading
        assert spool.read(2, 4)[1] == b"more"
    assert np.array_equal(first, array)
    assert second == b"contents"
    assert np.array_equal(np.asarray(third), array)
    assert (third.mode, third.info) == ("RGB", {"transparency": (1, 2, 3)})


def test_many_images_of_an_iterator(monkeypatch):
    monkeypatch.setattr(store, "HELD_BYTES", 1000)
    images = images_of((np.full((8, 8), i, dtype=np.uint8), i % 3) for i in range(90))
    assert images.train.images[:, 0, 0, 0].tolist() == [i for c in range(3) for i in range(c, 90, 3)]
    assert list(cache_dir().rglob("*.*")) == []  # nameless


def test_a_folder_that_cannot_be_written_is_needed_only_for_many_images(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path / "file"))
    images = [(torch.full((4, 4), i / 10), i % 2) for i in range(8)]
    assert len(images_of(iter(images)).train) == 8
    monkeypatch.setattr(store, "HELD_BYTES", 10)
    with pytest.raises(RunError, match="Could not keep the images in"):
        images_of(iter(images))
