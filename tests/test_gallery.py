"""The distilled sets that come with the repository load, and are whole."""

import json
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

import ncfm
from ncfm._utils.files import content_hash

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
    with Image.open(folder / "images.png") as picture:
        assert picture.size[0] > 100
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'ncfm.load(".")' in card
    assert synthetic.scores
    for entry in synthetic.scores:  # the card has what the set has
        assert f"{100 * entry['accuracy_mean']:.1f} ± {100 * entry['accuracy_std']:.1f}" in card
    facts = json.loads((folder / "set.json").read_text(encoding="utf-8"))
    stored = load_file(folder / "images.safetensors")["images"]
    assert content_hash(stored) == facts["images_hash"]
    sizes = {p.name: p.stat().st_size for p in folder.iterdir()}
    pixels, labels = stored.numel() * facts["bits"] / 8, 8 * stored.shape[0] * stored.shape[1]
    assert sizes.pop("images.safetensors") < pixels + labels + 1000
    assert stored.numel() < 5_000_000  # "a few MB"
    assert sum(sizes.values()) < 2_300_000  # picture, card and facts
