"""Unequal images per class: what may be asked for, how it is shared out, and sets that have it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import InputError
from ncfm._utils.files import read_json, read_tensors
from ncfm.synthetic.counts import blackened, checked_spec, counts_for, in_use
from ncfm.synthetic.formation import Formation, decode
from ncfm.synthetic.initialization import check_extension
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.storage import load, save
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import NAMES, STATISTICS
from strategies import rng

COUNTS = (1, 4, 2)


def unequal(counts=COUNTS, **options):
    images = blackened(torch.rand(3, max(counts), 3, 8, 8, generator=rng(0)), counts)
    return SyntheticSet(images, NAMES, STATISTICS, counts=counts, **options)


@pytest.mark.parametrize("spec", ["", "a", "1,x", "proportional:", "proportional:x", 1.5, None, [1, None]])
def test_what_is_no_number_is_refused(spec):
    with pytest.raises(InputError, match=r"number \(10\), one for each class \(1,5,10\) or proportional:N, got"):
        checked_spec(spec)


@pytest.mark.parametrize("spec", [0, "0", "-1", [1, 0], "1,0", "proportional:0", []])
def test_every_class_has_an_image(spec):
    with pytest.raises(InputError, match=r"ipc \(images per class\) must be at least 1, got"):
        checked_spec(spec)


def test_equal_numbers_are_one_number():
    real = torch.tensor([5, 5, 7])
    assert counts_for(checked_spec([2, 2, 2]), real) == 2
    assert counts_for("proportional:3", torch.tensor([5, 5, 5])) == 3
    assert counts_for((1, 2, 3), real) == (1, 2, 3)
    with pytest.raises(InputError, match="for 3 classes, got 2 numbers"):
        counts_for((1, 2), real)


def test_shares_by_hand():
    # 12 images for 100, 20 and 1 real ones: 9.92, 1.98 and 0.1, which is raised to 1.
    assert counts_for("proportional:4", torch.tensor([100, 20, 1])) == (9, 2, 1)
    assert counts_for("proportional:2", torch.tensor([30, 20, 10])) == (3, 2, 1)


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=12), st.integers(1, 50))
def test_shares_add_up_and_follow_the_real_images(real, mean):
    found = counts_for(f"proportional:{mean}", torch.tensor(real))
    counts = (found,) * len(real) if isinstance(found, int) else found
    assert min(counts) >= 1
    raised = sum(count == 1 for count in counts)
    assert mean * len(real) <= sum(counts) <= mean * len(real) + raised
    assert all(a <= b for a, x in zip(counts, real, strict=True) for b, y in zip(counts, real, strict=True) if x < y)


@pytest.mark.parametrize(("factor", "mode"), [(1, "single"), (2, "single"), (2, "multi"), (3, "multi")])
def test_decoding_is_that_of_each_class_alone(factor, mode):
    found = unequal(factor=factor, mode=mode)
    images, labels = found.decoded()
    alone = [decode(found.images[c : c + 1, :n], factor, mode)[0] for c, n in enumerate(COUNTS)]
    assert torch.equal(images, torch.cat(alone))
    assert labels.tolist() == [c for c, part in enumerate(alone) for _ in part]
    assert found.decoded_counts == tuple(map(len, alone))
    assert found.num_decoded == len(images)


def test_what_is_stored():
    found = unequal()
    assert found.stored_labels.tolist() == [0, 1, 1, 1, 1, 2, 2]
    assert torch.equal(found.stored, found.images[in_use(COUNTS, 4)])
    assert found.per_class == found.stored_counts == COUNTS
    assert (found.ipc, found.mean_ipc, found.storage) == (4, 7 / 3, 7 / 3)
    assert len(found.dataset()) == 7


def test_equal_counts_are_none():
    images = torch.rand(3, 2, 3, 8, 8)
    assert SyntheticSet(images, NAMES, STATISTICS, counts=(2, 2, 2)).counts is None


@pytest.mark.parametrize("counts", [(1, 4), (1, 4, 0), (1, 3, 2), (1, 5, 2)])
def test_counts_that_do_not_fit_are_refused(counts):
    with pytest.raises(InputError, match="Expected a number of images for each of 3 classes, 1 to 4"):
        SyntheticSet(torch.rand(3, 4, 3, 8, 8), NAMES, STATISTICS, counts=counts)


def test_the_mode_bounded_is_refused():
    with pytest.raises(InputError, match=r"distill.mode=bounded needs as many images in every class"):
        unequal(factor=2, mode="bounded", bound=8)


def test_an_unequal_set_is_not_extended():
    with pytest.raises(InputError, match="only sets of equal ones can be extended"):
        check_extension(unequal(), NAMES, (5, 3, 8, 8), Formation(factor=1))


@pytest.mark.parametrize("bits", [32, 8])
def test_on_disk_only_the_images_in_use(tmp_path, bits):
    logs = torch.log_softmax(torch.randn(28, 3, generator=rng(1)), 1)
    found = unequal(factor=2, soft_labels=SoftLabels.of(logs, precision="float16"))
    save(found, tmp_path, bits=bits)
    stored = read_tensors(tmp_path / "images.safetensors")
    assert stored["images"].shape == (7, 3, 8, 8)
    assert stored["labels"].tolist() == [0, 1, 1, 1, 1, 2, 2]
    facts = read_json(tmp_path / "set.json")
    assert (facts["counts"], facts["version"]) == ([1, 4, 2], 3)
    again = load(tmp_path)
    assert again.counts == COUNTS
    torch.testing.assert_close(again.images, found.images, rtol=0, atol=0 if bits == 32 else 1 / 510)
    assert torch.equal(again.soft_labels.log_probabilities(), found.soft_labels.log_probabilities())
    with pytest.raises(InputError, match="Expected soft labels of 28 decoded images"):
        unequal(factor=2, soft_labels=SoftLabels.of(logs[:12], precision="float16"))


def test_equal_sets_are_stored_as_ever(tmp_path):
    save(SyntheticSet(torch.rand(3, 2, 3, 8, 8), NAMES, STATISTICS), tmp_path)
    assert read_tensors(tmp_path / "images.safetensors")["images"].shape == (3, 2, 3, 8, 8)
    assert read_json(tmp_path / "set.json")["version"] == 1
    assert "counts" not in read_json(tmp_path / "set.json")
