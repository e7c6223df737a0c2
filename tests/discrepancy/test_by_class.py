"""Comparisons class by class: the classes are groups, in ascending order."""

import pytest
import torch
from torch.testing import assert_close

from ncfm import CharacteristicDiscrepancy, NcfmError
from ncfm.discrepancy.by_class import by_class
from strategies import normal, rng

D = 3


def test_classes_by_label_are_the_groups():
    x, y = normal(0, 3, 8, D).float(), 1 + normal(1, 3, 5, D).float()
    labels = torch.tensor([7, 2, 4])  # not in order: the values are
    shuffled = torch.randperm(24, generator=rng(5))
    module = CharacteristicDiscrepancy(D, redraw=False)
    by_label = module(
        x.flatten(0, 1)[shuffled],
        y.flatten(0, 1),
        labels=(labels.repeat_interleave(8)[shuffled], labels.repeat_interleave(5)),
    )
    assert_close(by_label, module(x, y)[[1, 2, 0]])


def sums(x, y, t):
    return x.sum() + 10 * y.sum() + 100 * t.sum()


def test_without_labels_it_is_the_comparison_itself():
    assert float(by_class(sums, torch.ones(2, D), torch.ones(4, D), torch.ones(1, D), None)) == 6 + 120 + 300


def test_every_class_is_compared_on_its_own():
    x, y, t = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[8.0], [16.0]]), torch.zeros(1, 1)
    found = by_class(sums, x, y, t, (torch.tensor([7, 2, 7]), torch.tensor([7, 2])))
    assert found.tolist() == [2 + 160, 5 + 80]  # class 2 first


@pytest.mark.parametrize(
    ("of_x", "of_y", "words"),
    [([0, 1], [0, 2], r"Classes \[1, 2\] are on one side only"), ([0], [0, 2], "one label a row")],
)
def test_labels_that_do_not_fit_are_refused(of_x, of_y, words):
    with pytest.raises(NcfmError, match=words):
        by_class(
            sums, torch.zeros(2, D), torch.zeros(2, D), torch.zeros(1, D), (torch.tensor(of_x), torch.tensor(of_y))
        )
