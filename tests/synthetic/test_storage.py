"""Synthetic sets on disk: what is written is read back, and what is damaged is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.types import Statistics
from ncfm.synthetic.folders import FACTS_FILE, IMAGES_FILE
from ncfm.synthetic.storage import FORMAT_VERSION, load, save
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import NAMES, STATISTICS, synthetic, with_soft_labels
from strategies import rng


def change_facts(folder, **changes):
    path = folder / FACTS_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# ---------------------------------------------------------------- save and load


def test_round_trip_is_exact(tmp_path):
    facts = {"seed": 3, "method": {"alpha": 0.1}, "note": None}
    made = synthetic(factor=2, mode="bounded", bound=7, facts=facts)
    assert save(made, tmp_path / "a" / "set") == tmp_path / "a" / "set"
    loaded = load(tmp_path / "a" / "set")
    assert torch.equal(loaded.images, made.images)
    assert loaded.images.dtype == torch.float32
    for name in ("class_names", "statistics", "factor", "mode", "bound", "facts"):
        assert getattr(loaded, name) == getattr(made, name)
    assert isinstance(loaded.statistics, Statistics)
    assert torch.equal(loaded.decoded().images, made.decoded().images)


def test_save_takes_images_that_are_being_learned_and_not_contiguous(tmp_path):
    images = torch.rand(3, 2, 8, 8, 3, generator=rng()).permute(0, 1, 4, 2, 3).requires_grad_()
    save(SyntheticSet(images, NAMES, STATISTICS), tmp_path)
    assert torch.equal(load(tmp_path).images, images)


def test_save_again_replaces(tmp_path):
    save(synthetic(seed=0), tmp_path)
    save(synthetic(seed=1), tmp_path)
    assert torch.equal(load(str(tmp_path)).images, synthetic(seed=1).images)
    assert {p.name for p in tmp_path.iterdir()} == {FACTS_FILE, IMAGES_FILE}  # no temporary files left


def test_load_from_the_run_folder(tmp_path):
    save(synthetic(), tmp_path / "synthetic")
    assert torch.equal(load(tmp_path).images, synthetic().images)


def test_a_set_comes_before_one_inside_it(tmp_path):
    save(synthetic(seed=1), tmp_path / "synthetic")
    save(synthetic(seed=0), tmp_path)
    assert torch.equal(load(tmp_path).images, synthetic(seed=0).images)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_save_refuses_values_that_are_not_finite(tmp_path, value):
    made = synthetic()
    made.images[1, 0, 0, 3, 3] = value
    with pytest.raises(NcfmError, match="The synthetic images has 1 value that is not finite"):
        save(made, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_save_where_a_file_is_in_the_way(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NcfmError, match="Could not write"):
        save(synthetic(), tmp_path / "file")


@pytest.mark.parametrize("content", ['{"format": "another"}', "{}", "[1, 2]", "3"])
def test_load_a_folder_of_another_program(tmp_path, content):
    (tmp_path / FACTS_FILE).write_text(content)
    with pytest.raises(NcfmError, match=r"was not written by ncfm \(expected format 'ncfm-synthetic-set'\)"):
        load(tmp_path)


def test_load_a_later_format(tmp_path):
    save(synthetic(), tmp_path)
    change_facts(tmp_path, version=FORMAT_VERSION + 1)
    with pytest.raises(NcfmError, match="upgrade ncfm"):
        load(tmp_path)


def test_load_cut_off_json(tmp_path):
    save(synthetic(), tmp_path)
    path = tmp_path / FACTS_FILE
    path.write_text(path.read_text()[:-20])
    with pytest.raises(NcfmError, match=r"Could not read .* as JSON"):
        load(tmp_path)


def test_load_without_pixels(tmp_path):
    save(synthetic(), tmp_path)
    (tmp_path / IMAGES_FILE).unlink()
    with pytest.raises(NcfmError, match="Expected a file"):
        load(tmp_path)


def test_load_cut_off_pixels(tmp_path):
    save(synthetic(), tmp_path)
    path = tmp_path / IMAGES_FILE
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(NcfmError, match="Could not read"):
        load(tmp_path)


def test_load_one_flipped_bit(tmp_path):
    save(synthetic(), tmp_path)
    path = tmp_path / IMAGES_FILE
    content = bytearray(path.read_bytes())
    content[-9] ^= 1
    path.write_bytes(content)
    with pytest.raises(NcfmError, match="another hash"):
        load(tmp_path)


def test_load_pixels_of_another_set(tmp_path):
    save(synthetic(seed=0), tmp_path / "a")
    save(synthetic(seed=1), tmp_path / "b")
    (tmp_path / "a" / IMAGES_FILE).replace(tmp_path / "b" / IMAGES_FILE)
    with pytest.raises(NcfmError, match="damaged or mixed up"):
        load(tmp_path / "b")


def test_another_programs_reader_finds_labels_and_versions(tmp_path):
    save(synthetic(), tmp_path)
    assert load_file(tmp_path / IMAGES_FILE)["labels"].tolist() == [0, 0, 1, 1, 2, 2]
    facts = json.loads((tmp_path / FACTS_FILE).read_text())
    assert facts["versions"] == {"ncfm": ncfm.__version__, "torch": torch.__version__}
    assert (facts["version"], facts["bits"]) == (1, 32)


def test_a_set_of_an_earlier_version_loads(tmp_path):
    save(synthetic(), tmp_path)
    save_file({"images": synthetic().images}, tmp_path / IMAGES_FILE)
    facts = json.loads((tmp_path / FACTS_FILE).read_text())
    (tmp_path / FACTS_FILE).write_text(json.dumps({k: v for k, v in facts.items() if k not in ("bits", "versions")}))
    assert torch.equal(load(tmp_path).images, synthetic().images)


def test_labels_in_another_order_are_damage(tmp_path):
    save(synthetic(), tmp_path)
    save_file({"images": synthetic().images, "labels": torch.tensor([0, 1, 2, 0, 1, 2])}, tmp_path / IMAGES_FILE)
    with pytest.raises(NcfmError, match="labels out of order"):
        load(tmp_path)


# ---------------------------------------------------------------- 8 bits


def test_8_bits_are_off_by_half_a_level_at_most_and_exact_from_then_on(tmp_path):
    made = synthetic(ipc=20, factor=2)
    once = load(save(made, tmp_path / "once", bits=8))
    assert once.images.dtype == torch.float32
    error = (once.images.double() - made.images.double()).abs()
    assert float(error.max()) <= 1 / 510 + 2**-24  # of 11,520 pixels; and the rounding of k / 255 to float32
    assert float(error.mean()) == pytest.approx(1 / 1020, rel=0.05)  # uniform below 1 / 510
    assert float((once.decoded().images - made.decoded().images).abs().max()) <= 1 / 510 + 1e-6  # means of pixels
    twice = load(save(once, tmp_path / "twice", bits=8))
    assert torch.equal(twice.images, once.images)
    for name in (FACTS_FILE, IMAGES_FILE):
        assert (tmp_path / "once" / name).read_bytes() == (tmp_path / "twice" / name).read_bytes()
    facts = json.loads((tmp_path / "once" / FACTS_FILE).read_text())
    assert (facts["version"], facts["bits"]) == (2, 8)  # a reader of version 1 would take levels for values


def test_8_bits_take_a_quarter_of_the_bytes(tmp_path):
    made = synthetic(ipc=50)
    sizes = [(save(made, tmp_path / str(b), bits=b) / IMAGES_FILE).stat().st_size for b in (32, 8)]
    header = 8 * 150 + 300  # the labels, and names and shapes
    assert sizes[0] - 4 * made.images.numel() < header
    assert sizes[1] - made.images.numel() < header


def test_every_level_comes_back(tmp_path):
    levels = (torch.arange(256).float() / 255).view(2, 2, 1, 8, 8)
    made = SyntheticSet(levels, ("a", "b"), Statistics((0.5,), (0.5,)))
    assert torch.equal(load(save(made, tmp_path, bits=8)).images, levels)


def test_other_numbers_of_bits(tmp_path):
    with pytest.raises(NcfmError, match="bits of a pixel must be 32 or 8, got 16"):
        save(synthetic(), tmp_path / "set", bits=16)
    assert not (tmp_path / "set").exists()


# --- soft labels


@pytest.mark.parametrize("options", [{}, {"top_k": 3}, {"top_k": 3, "precision": "uint8"}])
def test_soft_labels_are_stored_with_the_set(digits, tmp_path, options):
    made = with_soft_labels(digits, **options)
    found = load(save(made, tmp_path / "set")).soft_labels
    assert torch.equal(found.values, made.soft_labels.values)
    assert torch.equal(found.log_probabilities(), made.soft_labels.log_probabilities())
    facts = json.loads((tmp_path / "set" / "set.json").read_text())["soft_labels"]
    assert facts["bytes"] == made.soft_labels.num_bytes
    assert facts["image_equivalents"] == pytest.approx(made.soft_labels.num_bytes / 64)


@pytest.mark.parametrize("damage", ["exchange", "remove", "truncate"])
def test_damaged_soft_labels_are_reported(digits, tmp_path, damage):
    folder = save(with_soft_labels(digits), tmp_path / "set")
    path = folder / "labels.safetensors"
    if damage == "exchange":
        other = with_soft_labels(digits, precision="uint8")
        save_file({"values": other.soft_labels.values}, path)
    elif damage == "remove":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(NcfmError, match=r"labels\.safetensors"):
        load(folder)
