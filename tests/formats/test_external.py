"""External sets: decoding of mosaics, storage, and as sets to extend."""

import pytest
import torch

from ncfm._utils.checks import InputError
from ncfm._utils.types import LabelledImages
from ncfm.formats.external import External, as_synthetic
from ncfm.formats.reading import read_external
from ncfm.formats.writing import export
from ncfm.synthetic.counts import blackened
from ncfm.synthetic.formation import Formation, cut
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import real_images
from strategies import rng

NAMES = ("ant", "bee", "cat")
IMAGES = torch.rand(6, 1, 8, 8, generator=rng(0))
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])


def external(images=IMAGES, labels=LABELS, **options):
    return External(LabelledImages(images, labels), (), **options)


@pytest.mark.parametrize("formation", [Formation(2), Formation(3), Formation(2, "multi"), Formation(2, "bounded", 5)])
def test_mosaics_are_decoded_as_those_of_a_set(formation):
    real = real_images(NAMES)
    expected = SyntheticSet(
        IMAGES.unflatten(0, (3, 2)), NAMES, real.statistics, formation.factor, formation.mode, formation.bound
    ).decoded()
    found = external(formation=formation).decoded()
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.labels, expected.labels)


def test_whole_images_stay_in_their_order():
    found = external(labels=LABELS.flip(0)).decoded()
    assert torch.equal(found.images, IMAGES)
    assert torch.equal(found.labels, LABELS.flip(0))


def test_mosaics_of_unequal_classes():
    labels = torch.tensor([2, 0, 0, 0, 1, 1])
    assert external(labels=labels, formation=Formation(2)).decoded().labels.bincount().tolist() == [12, 8, 4]
    found = external(labels=labels, formation=Formation(2, "multi")).decoded()
    assert found.labels.bincount().tolist() == [15, 10, 5]  # of each stored image itself and four tiles
    assert torch.equal(found.images[:3], IMAGES[1:4])
    assert torch.equal(found.images[3:7], cut(IMAGES[1:2], 2))
    assert torch.equal(found.images[25:], torch.cat([IMAGES[:1], cut(IMAGES[:1], 2)]))


@pytest.mark.parametrize("to", ["npz", "pt", "parquet", "png"])
def test_exported_mosaics_of_unequal_classes_come_back_as_they_were(tmp_path, to):
    counts, levels = (3, 1, 2), torch.randint(256, (3, 3, 1, 8, 8), generator=rng(1))
    images = blackened(levels / 255, counts)
    real = real_images(NAMES)
    made = SyntheticSet(images, NAMES, real.statistics, factor=2, mode="multi", counts=counts)
    place = tmp_path / ("set" if to == "png" else f"set.{to}")
    export(made, place, to=to, stored=True, bits=8)
    found, expected = read_external(place, real).decoded(), made.decoded()
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.images, expected.images, rtol=0, atol=1e-6)


def test_storage_counts_stored_images_and_soft_labels():
    assert external(formation=Formation(2)).storage(3) == 2
    soft = SoftLabels(torch.zeros(6, 3), None, 3)  # 72 bytes, as much as 72/64 images of 8 x 8
    assert external(soft_labels=soft).storage(3) == pytest.approx((6 + 72 / 64) / 3)


def test_a_set_to_extend_has_the_classes_that_have_images():
    images = IMAGES.clone()
    images[0, 0, 0, 0], images[1, 0, 0, 0] = -0.5, 1.5
    found = as_synthetic(external(images[:4], torch.tensor([2, 0, 2, 0])), real_images(NAMES))
    assert found.class_names == ("ant", "cat")
    assert torch.equal(found.images[0], images[[1, 3]].clamp(0, 1))
    assert torch.equal(found.images[1], images[[0, 2]].clamp(0, 1))
    with pytest.raises(InputError, match="keep the same number of each"):
        as_synthetic(external(labels=torch.tensor([0, 0, 0, 1, 2, 2])), real_images(NAMES))
