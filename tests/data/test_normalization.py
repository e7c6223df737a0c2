"""Statistics of channels, compared with NumPy's, and images normalised by them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from ncfm._utils.seeding import generator
from ncfm.data.levels import to_float
from ncfm.data.normalization import channel_statistics, mean_deviation, normalize


@settings(max_examples=30)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=4, max_dims=4, max_side=6), elements=st.integers(0, 255)))
def test_statistics_agree_with_numpy(pixels):
    mean, std = channel_statistics(torch.from_numpy(pixels))[:2]
    values = pixels.astype(np.float64) / 255
    np.testing.assert_allclose(mean, values.mean((0, 2, 3)), rtol=0, atol=1e-14)
    deviation = values.std((0, 2, 3))
    np.testing.assert_allclose(std, np.where(deviation < 1e-6, 1.0, deviation), rtol=0, atol=1e-14)


def test_a_constant_channel_has_deviation_one():
    images = torch.full((3, 2, 4, 4), 200, dtype=torch.uint8)
    images[0, 1, 0, 0] = 0
    mean, std = channel_statistics(images)[:2]
    assert mean[0] == pytest.approx(200 / 255, abs=1e-15)
    assert std[0] == 1.0
    assert std[1] < 1.0


def test_normalised_images_have_mean_0_and_deviation_1():
    images = torch.randint(0, 256, (50, 3, 4, 4), dtype=torch.uint8, generator=generator(0))
    statistics = channel_statistics(images)
    values = normalize(to_float(images), statistics).double()
    torch.testing.assert_close(values.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(values.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6, rtol=0)
    groups = to_float(images).view(5, 10, 3, 4, 4)  # any leading axes
    assert torch.equal(normalize(groups, statistics).flatten(0, 1), normalize(to_float(images), statistics))


def test_the_deviation_of_images_is_the_mean_over_them(digits):
    images = dataclasses.replace(digits, deviation="images")
    pixels = digits.train.images.double().div(255).numpy()
    assert images.statistics.std == pytest.approx(pixels.std(axis=(2, 3), ddof=1).mean(0))
    assert images.statistics.mean == digits.statistics.mean
    assert images.fingerprint != digits.fingerprint


def test_a_constant_channel_is_divided_by_one():
    flat = torch.zeros(3, 2, 4, 4, dtype=torch.uint8)
    flat[:, 1, :2] = 255
    assert mean_deviation(flat) == pytest.approx((1.0, (4 / 15) ** 0.5))
