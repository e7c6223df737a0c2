"""The distilled sets that come with the repository load, and are whole."""

from pathlib import Path

import pytest

import ncfm

SETS = sorted(p.parent for p in (Path(__file__).parents[1] / "gallery").rglob("set.json"))


def test_there_are_sets():
    assert SETS


@pytest.mark.parametrize("folder", SETS, ids=lambda p: p.name)
def test_a_set_loads(folder):
    synthetic = ncfm.load(folder)
    images, labels = synthetic.decoded()
    assert labels.bincount().tolist() == [synthetic.decoded_ipc] * synthetic.num_classes
    assert 0 <= float(images.min()) < float(images.max()) <= 1
    assert synthetic.facts["data"] in folder.name
    assert (folder / "images.png").is_file()
