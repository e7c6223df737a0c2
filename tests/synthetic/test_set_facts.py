"""A changed set.json is told, whichever entry was changed and to what."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import content_hash
from ncfm._utils.types import Statistics
from ncfm.synthetic.folders import FACTS_FILE, IMAGES_FILE
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.storage import load, save
from ncfm.synthetic.synthetic_set import SyntheticSet


@pytest.fixture
def folder(tmp_path):
    soft = SoftLabels.of(torch.eye(3).add(0.1).log_softmax(1), top_k=2)
    images = torch.rand(3, 1, 2, 4, 4)
    save(SyntheticSet(images, ("a", "b", "c"), Statistics((0.5,) * 2, (0.2,) * 2), soft_labels=soft), tmp_path)
    return tmp_path


def change(folder, **entries):
    facts = json.loads((folder / FACTS_FILE).read_text())
    (folder / FACTS_FILE).write_text(json.dumps(facts | entries))


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        *(("class_names", value) for value in ("abc", [], [1, 2, 3], None, {})),
        *(("factor", value) for value in (0, 1.5, "2", 2**40, None)),
        *(("statistics", value) for value in ([], {"mean": 1, "std": 1}, {"mean": [0.5], "std": [0.0]}, {})),
        *(("facts", value) for value in ([], "x", None)),
        *(("counts", value) for value in ([0, 1, 1], "111", [1.0, 1, 1], 3)),
        *(("scores", value) for value in ({}, [1], "x")),
        *(("soft_labels", value) for value in ([], "x", 1)),
        *(("version", value) for value in ("1", None, -1)),
        *(("mode", value) for value in (1, "singel")),
    ],
)
def test_entries_of_another_form(folder, entry, value):
    change(folder, **{entry: value})
    with pytest.raises(NcfmError, match=r"damaged|Unknown formation mode|images"):
        load(folder)


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 1, 2, 4, 4, dtype=torch.int64),
        torch.zeros(3, 2, 4, 4),
        torch.zeros(3, 1, 1, 4, 4),
        torch.zeros(3, 1, 2, 4, 4, dtype=torch.complex64),
    ],
    ids=["integers", "four axes", "other channels", "complex"],
)
def test_images_that_do_not_fit(folder, images):
    save_file({"images": images, "labels": torch.arange(3)}, folder / IMAGES_FILE)
    change(folder, images_hash=content_hash(images))
    with pytest.raises(NcfmError, match=r"images\.safetensors.*(damaged|real part)"):
        load(folder)


def write_labels(folder, **changes):
    place = folder / "labels.safetensors"
    tensors = load_file(place) | changes
    save_file(tensors, place)
    parts = (part for name in sorted(tensors) for part in (name, tensors[name]))
    change(folder, soft_labels={"hash": content_hash(*parts)})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": torch.tensor([[0, 1], [1, 3], [2, 0]], dtype=torch.int16)}, r"must lie in 0\.\.2, got 0\.\.3"),
        ({"classes": torch.tensor([[0, 1], [1, -1], [2, 0]], dtype=torch.int16)}, r"must lie in 0\.\.2, got -1"),
        ({"classes": torch.tensor([[0, 1], [1, 1], [2, 0]], dtype=torch.int16)}, "must differ"),
        ({"classes": torch.zeros(3, 2)}, "need a class of each value"),
        ({"classes": torch.zeros(3, 5).short(), "values": torch.zeros(3, 5).half()}, "at most 3 for an image"),
        ({"values": torch.zeros(3, 2, 1).half()}, r"of shape \(n, k\), got torch.float16 \(3, 2, 1\)"),
        ({"values": torch.zeros(3, 2).long()}, "floats or levels"),
    ],
)
def test_soft_labels_outside_the_classes(folder, changes, message):
    write_labels(folder, **changes)
    with pytest.raises(NcfmError, match=message):
        load(folder)
