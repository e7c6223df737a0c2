"""The digits of scikit-learn as an image set: split, levels, names."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ncfm._utils.checks import NcfmError
from ncfm.data import load_images


def test_digits_are_split_in_a_fixed_stratified_way(digits):
    assert (digits.num_classes, digits.channels, digits.image_size) == (10, 1, 8)
    assert len(digits.train) == 1343
    assert len(digits.require_test()) == 454
    whole = digits.train.counts + digits.require_test().counts
    assert torch.equal(whole, torch.bincount(torch.from_numpy(load_digits().target)))
    assert torch.equal(digits.require_test().counts, (whole + 3) // 4)  # every fourth, from the first on


def test_digits_are_the_17_levels_spread_over_8_bits(digits):
    bunch = load_digits()
    # 255 / 16 is no integer: level 8 is 127.5, which rounds to the even 128.
    levels = np.rint(np.arange(17) * 255 / 16).astype(np.uint8)
    assert set(digits.train.images.unique().tolist()) == set(levels.tolist())
    expected = levels[bunch.images.astype(int)]  # (1797, 8, 8)
    zeros = expected[bunch.target == 0]
    assert np.array_equal(digits.require_test().of_class(0)[:, 0].numpy(), zeros[::4])
    kept = np.arange(len(zeros)) % 4 != 0
    assert np.array_equal(digits.train.of_class(0)[:, 0].numpy(), zeros[kept])


def test_digits_by_name_are_the_same_and_cannot_be_resized(digits):
    assert load_images("digits").fingerprint == digits.fingerprint
    assert load_images("digits", image_size=8, channels=1).name == "digits"
    for other in ({"image_size": 16}, {"channels": 3}):
        with pytest.raises(NcfmError, match="grey images of 8 px"):
            load_images("digits", **other)
