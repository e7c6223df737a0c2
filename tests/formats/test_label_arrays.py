"""Labels of any form that published sets have: the right classes and probabilities, and what was taken is said."""

import pytest
import torch

from ncfm._utils.checks import InputError
from ncfm.formats.label_arrays import read_labels
from strategies import rng

CLASSES = torch.tensor([2, 0, 1, 2])
LOGITS = torch.randn(4, 3, generator=rng(0)) + 5 * torch.nn.functional.one_hot(CLASSES, 3) + 1


def read(labels, use="auto", count=4, num_classes=3):
    return read_labels(labels, count, num_classes, "set", use)


@pytest.mark.parametrize(
    "form", [lambda x: x, lambda x: x[:, None], lambda x: x[None], lambda x: x.unflatten(0, (2, 2))]
)
@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float32])
def test_class_indices_in_any_shape(form, dtype):
    found = read(form(CLASSES).to(dtype))
    assert torch.equal(found.classes, CLASSES)
    assert (found.log_probabilities, found.note) == (None, "")


@pytest.mark.parametrize("dtype", [torch.int64, torch.float32, torch.bool])
def test_one_hot_labels_are_classes(dtype):
    found = read(torch.nn.functional.one_hot(CLASSES, 3).to(dtype))
    assert torch.equal(found.classes, CLASSES)
    assert found.log_probabilities is None


@pytest.mark.parametrize(
    ("form", "note"),
    [
        (lambda x: x.softmax(1), "set: labels are probabilities."),
        (lambda x: x.softmax(1).half(), "set: labels are probabilities."),
        (lambda x: x.log_softmax(1), "set: labels are logarithms of probabilities."),
        (lambda x: x, "set: labels are taken as logits, of which the softmax is used."),
        (lambda x: x.double(), "set: labels are taken as logits, of which the softmax is used."),
    ],
)
def test_soft_labels(form, note):
    found = read(form(LOGITS))
    assert torch.equal(found.classes, CLASSES)
    torch.testing.assert_close(found.log_probabilities.exp(), LOGITS.softmax(1), atol=1e-3, rtol=0)
    assert found.log_probabilities.dtype == torch.float32
    assert found.note == note


def test_probability_0_stays_0():
    found = read(torch.tensor([[0.0, 0.5, 0.5]] * 4))
    assert found.log_probabilities.exp().tolist() == [[0.0, 0.5, 0.5]] * 4
    found = read(torch.tensor([[0.0, 0.5, 0.5]] * 4).log())
    assert found.log_probabilities.exp().tolist() == [[0.0, 0.5, 0.5]] * 4


def test_targets_of_a_regression_are_not_guessed():
    centred = LOGITS - LOGITS.mean(1, keepdim=True)  # as KIP: one-hot labels minus 1/C, then learned
    with pytest.raises(InputError, match=r"sum to 0 for each image: targets of a regression \(KIP\), or logits"):
        read(centred)
    hard, soft = read(centred, "hard"), read(centred, "soft")
    assert torch.equal(hard.classes, CLASSES)
    assert hard.log_probabilities is None
    assert "the largest of its labels" in hard.note
    torch.testing.assert_close(soft.log_probabilities.exp(), LOGITS.softmax(1))
    start = torch.nn.functional.one_hot(CLASSES, 3) - 1 / 3  # not learned at all
    with pytest.raises(InputError, match=r"evaluate\.labels=hard"):
        read(start)


def test_hard_labels_on_request():
    for form in (LOGITS, LOGITS.softmax(1)):
        found = read(form, "hard")
        assert torch.equal(found.classes, CLASSES)
        assert found.log_probabilities is None


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (CLASSES + 0.5, "class indices as labels, got torch.float32 with fractions"),
        (torch.rand(4, 5), r"expected soft labels \(n, 3\), got \(4, 5\)"),
        (torch.rand(6, 4, 3), r"one label per image, got \(6, 4, 3\): labels of every epoch .*Store their mean"),
        (2 * torch.eye(4, 3, dtype=torch.int64), "one-hot labels or floats, got torch.int64"),
        (torch.ones(4, 3, dtype=torch.int64), r"image 0 has several labels, \[1, 1, 1\]; multi-label"),
        (torch.ones(4, 3), r"image 0 has several labels, \[1.0, 1.0, 1.0\]; multi-label"),
        (LOGITS * float("nan"), "array of labels has 12 values that are not finite"),
        (LOGITS.softmax(1) * float("inf"), "not finite"),
    ],
)
def test_other_labels_are_refused(labels, message):
    with pytest.raises(InputError, match=message):
        read(labels)
