"""Labels in memory: numbers, names and one-hot rows by hand, and everything that is none of these."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from ncfm._utils.checks import InputError
from ncfm.data.labels import names_of, numbered, plain_labels


@pytest.mark.parametrize(
    ("labels", "values"),
    [
        ([3, True, np.uint8(2), 1.0, torch.tensor(0)], [3, 1, 2, 1, 0]),
        (torch.tensor([[2], [0]], dtype=torch.int32), [2, 0]),
        (np.array([1, 0], dtype=np.float16), [1, 0]),
        (torch.tensor([1, 0]).bfloat16(), [1, 0]),
        (range(3), [0, 1, 2]),
        (["b", np.str_("a"), b"c", np.array("d"), np.array(["e"])], ["b", "a", "c", "d", "e"]),
        ([None, None], [-1, -1]),
        ([], []),
    ],
)
def test_numbers_and_names(labels, values):
    found = plain_labels(labels, "train")
    assert list(found.values) == values
    assert found.num_classes is None
    assert found.remarks() == ()


def test_one_hot_rows():
    found = plain_labels([[0, 0, 1.0], torch.tensor([1, 0, 0]), np.array([False, True, False])], "train")
    assert (found.values, found.num_classes) == ([2, 0, 1], 3)
    assert found.remarks() == ("one-hot labels of 3 classes are numbered",)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0.1, 0.9], [0.5, 0.5]], "label 0: expected one class, got soft labels; take the largest: labels.argmax(1)"),
        (torch.randn(2, 3).softmax(1), "got soft labels"),
        ([[0, 1], [1, 1]], "image 1 has several labels, [1, 1]; multi-label data are not supported"),
        ([[0, 0]], "label 0: expected one class, got none in a row of 2 zeros"),
        ([[-1.5, 2.0]], "expected a whole number, a name, or a one-hot row; got float64 (2,)"),
        ([["cat", "dog"]], "image 0 has several labels, [cat, dog]; multi-label"),
        (np.zeros((2, 2, 2)), "a one-hot row; got float64 (2, 2)"),
        ([[]], "a one-hot row; got float64 (0,)"),
        ([[0, 1], 1], "expected labels of one form"),
        ([[0, 1], [0, 1, 0]], "image 0 has several labels, [0, 1]; multi-label"),
        ([[1], [0, 2]], "image 1 has several labels, [0, 2]; multi-label"),
        (["cat", 1], "all numbers or all names, got both"),
        (["cat", None], "all numbers or all names, got both"),
        ([0, None], "label 1: expected labels that are whole numbers or names, got None"),
        ([0.5], "whole numbers or names, got 0.5"),
        ([float("nan")], "whole numbers or names, got nan"),
        ([float("inf")], "whole numbers or names, got inf"),
    ],
)
def test_what_is_no_label_is_refused(labels, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        plain_labels(labels, "train")
    assert str(caught.value).startswith("train: ")


def test_names_are_those_given_then_the_own_ones_then_the_labels():
    words, one_hot = plain_labels(["b", "a", "b"], "train"), plain_labels(np.eye(2), "train")
    assert names_of(words, ("b", "a"), ["x", "y"]) == ("x", "y")
    assert names_of(words, ("b", "a"), None) == ("b", "a")
    assert names_of(words, None, None) == ("a", "b")
    assert names_of(one_hot, None, None) == ("0", "1")
    assert names_of(plain_labels([1, 0], "train"), None, None) is None


def test_names_are_looked_up():
    assert numbered(plain_labels(["b", "a", "b"], "train"), ("b", "a"), "train") == [0, 1, 0]
