"""What students cannot be trained or tested on."""

from __future__ import annotations

import pytest
import torch

from ncfm._utils.checks import NcfmError
from tiny import changed


def broken(train, **changes):
    return train._replace(**{key: change(getattr(train, key)) for key, change in changes.items()})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": lambda x: x[:, :, :6, :6]}, r"images of shape \(1, 6, 6\), the test split of \(1, 8, 8\)"),
        ({"images": lambda x: x.repeat(1, 3, 1, 1)}, r"\(3, 8, 8\)"),
        ({"images": lambda x: x.index_fill(0, torch.tensor([3]), torch.nan)}, "64 values that are not finite"),
        ({"labels": lambda y: y.int()}, "must be int64 class indices.*labels.long"),
        ({"labels": lambda y: y + 1}, r"must lie in 0..9 .* got 1..10"),
        ({"labels": lambda y: y - 1}, r"got -1..8"),
    ],
)
def test_a_set_that_does_not_fit_is_told(judge, images, changes, message):
    with pytest.raises(NcfmError, match=message):
        judge(broken(images.train.labelled(), **changes))


@pytest.mark.parametrize("cut", [slice(0, 70), slice(0, 0)], ids=["fewer", "none"])
@pytest.mark.parametrize("part", ["images", "labels"])
def test_as_many_labels_as_images(judge, images, part, cut):
    with pytest.raises(NcfmError, match="labels"):
        judge(broken(images.train.labelled(), **{part: lambda x: x[cut]}))


def test_no_students_are_refused(judge):
    with pytest.raises(NcfmError, match="num_runs must be at least 1"):
        judge(protocol=changed(num_runs=0))


def test_an_unknown_network_is_told(judge):
    with pytest.raises(NcfmError, match="Unknown network 'convnot'"):
        judge(network="convnot")
