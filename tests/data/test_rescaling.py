"""One normalisation in terms of another."""

import torch
from torch.testing import assert_close

from ncfm._utils.types import Statistics
from ncfm.data.normalization import normalize
from ncfm.data.rescaling import rescaling
from strategies import rng


def test_images_normalised_one_way_become_those_normalised_the_other_way():
    images = torch.rand(4, 2, 3, 3, generator=rng(0))
    first, second = Statistics((0.4, 0.1), (0.25, 0.5)), Statistics((0.2, 0.6), (0.2, 0.3))
    factor, shift = rescaling(first, second, torch.device("cpu"))
    assert_close(normalize(images, first) * factor + shift, normalize(images, second))
