"""An export that is read back is the set that it was: class names, soft labels, and the formation of mosaics."""

import json

import numpy as np
import pytest
import torch

from ncfm._utils.checks import RunError
from ncfm._utils.types import Statistics, Whitening
from ncfm.data.levels import to_float, to_uint8
from ncfm.formats import FORMATS, export
from ncfm.formats.export_facts import Recorded, read_facts
from ncfm.formats.reading import read_external
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import real_images
from strategies import rng

NAMES = ("zebra", "ant", "10", "crane", "crane")
ORDERS = {"same": NAMES, "another": ("crane", "10", "ant", "crane", "zebra")}
FORMS = ["png", "parquet", "hf", "npz", "pt"]


def made(**options):
    count = len(NAMES)
    formation = Formation(options.get("factor", 1), options.get("mode", "single"), options.get("bound", 128))
    logits = torch.randn(count * formation.decoded_ipc(2), count, generator=rng(7))
    soft = SoftLabels.of(torch.log_softmax(3 * logits, 1))
    images = torch.rand(count, 2, 3, 8, 8, generator=rng(0))
    return SyntheticSet(images, NAMES, Statistics((0.4,) * 3, (0.3,) * 3), soft_labels=soft, **options)


def read(chosen, to, tmp_path, names=NAMES, **options):
    place = export(chosen, tmp_path / f"set{FORMATS[to].suffix}", to=to, **options).path
    return read_external(place, real_images(names, channels=3))


def classes_of(names):
    """The position in ``names`` of each class of the set, equal names in their order."""
    positions = {name: [i for i, other in enumerate(names) if other == name] for name in names}
    return torch.tensor([positions[name].pop(0) for name in NAMES])


def in_order(images, labels):
    """By class, in their order within a class: image folders are read class by class."""
    order = labels.argsort(stable=True)
    return images[order], labels[order]


@pytest.mark.parametrize("names", ORDERS.values(), ids=ORDERS.keys())
@pytest.mark.parametrize("to", FORMS)
def test_decoded_images_with_soft_labels(to, names, tmp_path):
    chosen, at = made(factor=2), classes_of(names)
    found = read(chosen, to, tmp_path, names)
    images, labels = chosen.decoded()
    images, labels = in_order(to_uint8(images), at[labels])
    order = found.images.labels.argsort(stable=True)
    assert found.formation == Formation(1)
    assert torch.equal(to_uint8(found.images.images[order]), images)
    assert torch.equal(found.images.labels[order], labels)
    if to == "png":
        assert found.soft_labels is None
        return
    expected = chosen.soft_labels.log_probabilities().exp()[at[chosen.decoded().labels].argsort(stable=True)]
    probabilities = found.soft_labels.log_probabilities().exp()[order]
    torch.testing.assert_close(probabilities[:, at], expected)
    assert ("another order" in " ".join(found.notes)) == (names != NAMES)


@pytest.mark.parametrize("formation", [Formation(2), Formation(3, "multi"), Formation(2, "bounded", 5)])
@pytest.mark.parametrize("to", FORMS)
def test_stored_mosaics_are_decoded_as_the_set(to, formation, tmp_path):
    chosen = made(**vars(formation))
    found = read(chosen, to, tmp_path, stored=True)
    assert found.formation == formation
    assert found.storage(len(NAMES)) == 2
    levels = chosen.with_images(to_float(to_uint8(chosen.images)))  # what 8 bits leave
    expected = (chosen if to == "pt" else levels).decoded()
    decoded = found.decoded()
    assert torch.equal(decoded.images, expected.images)
    assert torch.equal(decoded.labels, expected.labels)


@pytest.mark.parametrize(("to", "bits"), [("npz", 32), ("pt", 8)])
def test_other_numbers_of_bits(to, bits, tmp_path):
    chosen = made(factor=2)
    found = read(chosen, to, tmp_path, stored=True, bits=bits)
    images = chosen.images if bits == 32 else to_float(to_uint8(chosen.images))
    assert torch.equal(found.decoded().images, chosen.with_images(images).decoded().images)


@pytest.mark.parametrize("data", ["cifar10", "mine"])
@pytest.mark.parametrize("soft", [True, False])
def test_tensors_for_ddranking_record_their_normalisation(data, soft, tmp_path):
    chosen = made(factor=2, facts={"data": data})
    chosen = chosen if soft else chosen.with_images(chosen.images)
    found = read(chosen, "ddranking", tmp_path)
    images, labels = chosen.decoded()
    torch.testing.assert_close(found.images.images, images, atol=1e-6, rtol=0)
    assert torch.equal(found.images.labels, labels if not soft else chosen.soft_labels.log_probabilities().argmax(1))
    assert (found.soft_labels is None) == (not soft)
    if soft:
        torch.testing.assert_close(
            found.soft_labels.log_probabilities(), chosen.soft_labels.log_probabilities(), atol=1e-5, rtol=0
        )


def test_a_factor_that_contradicts_the_export_is_refused(tmp_path):
    place = export(made(factor=2), tmp_path / "set.pt", to="pt", stored=True).path
    real = real_images(NAMES, channels=3)
    assert read_external(place, real, factor=2).formation == Formation(2)
    with pytest.raises(ValueError, match=r"records factor 2; leave out factor 3"):
        read_external(place, real, factor=3)


@pytest.mark.parametrize("to", FORMS)
def test_a_set_for_whitened_images_says_so(to, tmp_path):
    whitening = Whitening(torch.zeros(192), torch.eye(192))
    chosen = made()
    chosen = SyntheticSet(chosen.images, NAMES, chosen.statistics._replace(whitening=whitening))
    assert "evaluate it with --set data.zca=true" in read(chosen, to, tmp_path).notes[-1]


# --- what other programs write ------------------------------------------------------------------------------


def test_marks_of_other_programs_are_not_believed():
    assert read_facts({"factor": 2, "mode": "single", "bound": 3}, "set") == Recorded()
    assert read_facts({"class_names": ["a", "b"], "factor": 2}, "set") == Recorded(("a", "b"))
    assert read_facts({"class_names": [1, 2]}, "set") == Recorded()


@pytest.mark.parametrize(
    "facts", [{"factor": 2}, {"factor": 0, "mode": "single", "bound": 1}, {"factor": 2, "mode": 3}]
)
def test_a_damaged_formation_is_reported(facts):
    with pytest.raises(RunError, match="formation of its mosaics is damaged"):
        read_facts({"format": "ncfm-export"} | facts, "set")


def test_class_names_of_another_program_are_used(tmp_path):
    images = torch.rand(3, 1, 8, 8, generator=rng(1))
    torch.save({"images": images, "labels": torch.arange(3), "class_names": ["c", "a", "b"]}, tmp_path / "set.pt")
    np.savez(tmp_path / "set.npz", images=images.numpy(), labels=np.arange(3), class_names=np.array(["c", "a", "b"]))
    for name in ("set.pt", "set.npz"):
        found = read_external(tmp_path / name, real_images(("a", "b", "c")))
        assert found.images.labels.tolist() == [2, 0, 1]
        assert "matched by name" in found.notes[0]


@pytest.mark.parametrize("index", [{"folders": 3}, {"folders": ["a"]}, {"class_names": 3}, {"class_names": []}])
def test_a_damaged_index_is_no_crash(index, tmp_path):
    export(made(), tmp_path / "set", to="png")
    found = json.loads((tmp_path / "set" / "classes.json").read_text())
    (tmp_path / "set" / "classes.json").write_text(json.dumps(found | index))
    assert read_external(tmp_path / "set", real_images(NAMES, channels=3)).images.labels.bincount().tolist() == [2] * 5


def test_the_tables_of_a_hub_folder_are_enough(tmp_path):
    chosen = made(factor=2)
    export(chosen, tmp_path / "set", to="hf", stored=True)
    (tmp_path / "set" / "classes.json").unlink()
    assert read_external(tmp_path / "set", real_images(NAMES, channels=3)).formation == Formation(2)


def test_the_index_of_a_folder_has_the_formation(tmp_path):
    export(made(factor=2), tmp_path / "set", to="png", stored=True)
    index = json.loads((tmp_path / "set" / "classes.json").read_text())
    assert {key: index[key] for key in ("format", "factor", "mode", "bound")} == {
        "format": "ncfm-export",
        "factor": 2,
        "mode": "single",
        "bound": 128,
    }
