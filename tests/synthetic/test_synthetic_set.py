"""The synthetic set: shapes, decoding, batches to train on, and its soft labels."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from ncfm._utils.checks import NcfmError
from ncfm.synthetic.formation import MODES, decode
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import NAMES, STATISTICS, synthetic, with_soft_labels
from strategies import rng

# ---------------------------------------------------------------- the set


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("factor", [1, 2])
def test_decoded_counts_and_labels(mode, factor):
    made = synthetic(factor=factor, mode=mode, bound=6)
    decoded = made.decoded()
    # Bounded by 6 places, two images of 4 tiles do not fit: one is cut, the other stays whole.
    expected = {"single": 8, "multi": 10, "bounded": 5}[mode] if factor == 2 else 2
    assert made.decoded_ipc == expected
    assert decoded.images.shape == (3 * expected, 3, 8, 8)
    assert decoded.labels.tolist() == [c for c in range(3) for _ in range(expected)]
    assert decoded.labels.dtype == torch.int64
    assert torch.equal(decoded.images.unflatten(0, (3, expected)), decode(made.images, factor, mode, 6))


def test_with_images_changes_nothing_else():
    made = synthetic(factor=2, facts={"seed": 3})
    other = made.with_images(made.images / 2)
    assert torch.equal(other.images, made.images / 2)
    assert (other.class_names, other.statistics) == (NAMES, STATISTICS)
    assert (other.factor, other.facts) == (2, {"seed": 3})


@pytest.mark.parametrize("shape", [(2, 1, 3, 8, 8), (3, 3, 8, 8)])
def test_images_that_do_not_fit_the_class_names(shape):
    with pytest.raises(NcfmError, match="C = 3 class names"):
        SyntheticSet(torch.zeros(shape), NAMES, STATISTICS)


def test_bound_that_does_not_fit():
    with pytest.raises(NcfmError, match="bound must be at least 2, got 1"):
        synthetic(factor=2, mode="bounded", bound=1)


# ---------------------------------------------------------------- to train on


def test_the_dataset_is_the_decoded_images_normalised():
    made = synthetic(factor=2)
    data = made.dataset()
    images, labels = made.decoded()
    assert len(data) == 24
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in STATISTICS[:2])
    assert_close(data[7][0], (images[7] - mean) / std)
    assert [int(label) for _, label in data] == labels.tolist()
    assert torch.equal(made.dataset(normalized=False)[7][0], images[7])


def test_the_loader_gives_every_image_once_an_epoch_in_orders_of_the_generator():
    made = synthetic(factor=2)
    first, second = (made.loader(10, normalized=False, generator=rng(s)) for s in (1, 1))
    epochs = [[torch.cat(parts) for parts in zip(*loader, strict=True)] for loader in (first, second, first)]
    assert [len(batch[1]) for batch in first] == [10, 10, 4]
    for images, labels in epochs:
        assert torch.equal(
            images.flatten(1).sum(1).sort().values, made.decoded().images.flatten(1).sum(1).sort().values
        )
        assert labels.bincount().tolist() == [8, 8, 8]
    assert torch.equal(epochs[0][1], epochs[1][1])
    assert not torch.equal(epochs[0][1], epochs[2][1])  # another order every epoch
    images, labels = next(iter(made.loader(24, normalized=False, shuffle=False)))
    assert torch.equal(images, made.decoded().images)
    assert torch.equal(labels, made.decoded().labels)
    assert len(made.loader(10, drop_last=True)) == 2  # options of PyTorch's


def test_an_empty_batch():
    with pytest.raises(NcfmError, match="batch_size must be at least 1, got 0"):
        synthetic().loader(0)


# --- soft labels --------------------------------------------------------------------------------------------


def test_the_storage_counts_soft_labels_as_images(digits):
    # 80 decoded images of 10 classes in half precision: 1600 bytes, 25 images of 64 bytes, 2.5 for each class.
    assert with_soft_labels(digits).storage == pytest.approx(2 + 2.5)
    assert replace(with_soft_labels(digits), soft_labels=None).storage == 2


def test_other_images_lose_the_soft_labels(digits):
    made = with_soft_labels(digits)
    assert made.with_images(made.images * 0.5).soft_labels is None


def test_soft_labels_come_with_the_batches_as_probabilities(digits):
    made = with_soft_labels(digits, top_k=3)
    images, labels, probabilities = next(iter(made.loader(80, shuffle=False)))
    assert torch.equal(probabilities, made.soft_labels.log_probabilities().exp())
    assert_close(probabilities.sum(1), torch.ones(80))
    assert labels.tolist() == made.decoded().labels.tolist()
    assert float(torch.nn.functional.cross_entropy(torch.zeros(80, 10), probabilities)) == pytest.approx(math.log(10))
    assert len(next(iter(made.loader(80, soft=False)))) == 2
    assert not images.requires_grad


def test_soft_labels_that_do_not_fit_are_refused(digits):
    made = with_soft_labels(digits)
    with pytest.raises(NcfmError, match=r"soft labels of 20 decoded images and 10 classes, got 80 of 10"):
        replace(made, factor=1)
