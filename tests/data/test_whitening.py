"""ZCA: what comes out is white as far as epsilon lets it, symmetric, and known from the training split alone."""

from __future__ import annotations

import dataclasses

import pytest
import torch

import ncfm
from ncfm._utils.checks import NcfmError
from ncfm._utils.seeding import generator
from ncfm.config.build import build_data
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.data import ImageSet, ImageSplit, normalize
from ncfm.data.levels import to_float
from ncfm.data.normalization import channel_statistics
from ncfm.data.whitening import EPSILON, LARGEST, zca
from tiny import SETTINGS, few


def smooth(n=400, side=6, channels=1):
    """Images whose neighbouring pixels are alike."""
    noise = torch.rand(n, channels, side + 2, side + 2, generator=generator(0, "smooth"))
    blurred = torch.nn.functional.avg_pool2d(noise, 3, stride=1)
    return ((blurred - blurred.min()) / (blurred.max() - blurred.min()) * 255).to(torch.uint8)


def whitened(images, test=None):
    labels = torch.arange(len(images)) % 2
    split = ImageSplit.of(images, labels, 2)
    return ImageSet("smooth", split, test, ("a", "b"), whitened=True)


def test_the_covariance_becomes_that_of_the_formula():
    # Eigenvalues lambda become lambda / (lambda + epsilon), in the same directions, and the mean becomes zero.
    images = smooth(channels=3)
    data = whitened(images)
    plain = normalize(to_float(data.train.images), channel_statistics(images)).flatten(1).double()
    white = normalize(to_float(data.train.images), data.statistics).flatten(1).double()
    torch.testing.assert_close(white.mean(0), torch.zeros(white.shape[1], dtype=torch.float64), atol=1e-5, rtol=0)
    values, directions = torch.linalg.eigh(torch.cov(plain.T, correction=0))
    expected = directions @ torch.diag(values / (values + EPSILON)) @ directions.T
    torch.testing.assert_close(torch.cov(white.T, correction=0), expected, atol=1e-4, rtol=0)
    assert values.max() > 20 * values.min()  # it was far from white


def test_the_map_is_symmetric_and_positive_so_images_stay_recognisable():
    matrix = whitened(smooth()).statistics.whitening.matrix.double()
    torch.testing.assert_close(matrix, matrix.T)
    assert torch.linalg.eigvalsh(matrix).min() > 0


def test_axes_before_the_image_are_left_alone():
    data = whitened(smooth())
    x = to_float(data.train.images[:6])
    torch.testing.assert_close(
        normalize(x.unflatten(0, (2, 3)), data.statistics).flatten(0, 1), normalize(x, data.statistics)
    )


def test_the_gradient_goes_through_to_the_pixels():
    data = whitened(smooth())
    x = to_float(data.train.images[:1]).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda v: normalize(v, data.statistics).square().sum(), (x,))


def test_the_test_split_has_no_influence():
    poison = ImageSplit.of(255 - smooth(), torch.arange(400) % 2, 2)
    a, b = whitened(smooth()), whitened(smooth(), test=poison)
    assert torch.equal(a.statistics.whitening.matrix, b.statistics.whitening.matrix)


def test_whitened_and_plain_sets_have_other_names_in_the_cache():
    data = whitened(smooth())
    assert data.fingerprint != dataclasses.replace(data, whitened=False).fingerprint


def test_images_with_too_many_values_are_refused():
    side = int((LARGEST / 3) ** 0.5) + 1
    images = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    with pytest.raises(NcfmError, match=r"data\.zca=false"):
        zca(images, channel_statistics(images))


def test_validation_images_are_left_out_of_the_map(digits):
    options = make_config(nest({"data.zca": True, "data.validation": 0.2}))
    data = build_data(few(digits), options)
    assert data.whitened
    expected = zca(data.train.images, channel_statistics(data.train.images))
    assert torch.equal(data.statistics.whitening.matrix, expected.matrix)


def test_a_run_with_zca_from_the_data_to_the_evaluation(tmp_path):
    settings = SETTINGS | {"data.zca": True, "distill.factor": 1}
    result = ncfm.distill("digits", ipc=1, recipe="none", settings=settings, out=tmp_path / "run")
    stored = ncfm.load(tmp_path / "run")
    assert torch.equal(stored.statistics.whitening.matrix, result.synthetic.statistics.whitening.matrix)
    assert 0 <= float(stored.images.min()) <= float(stored.images.max()) <= 1  # ordinary pixels
    assert "data.zca=True" in stored.facts["variant"]
    plain = ncfm.distill("digits", ipc=1, recipe="none", settings=settings | {"data.zca": False})
    assert not torch.equal(plain.synthetic.images, result.synthetic.images)
    assert ncfm.evaluate(tmp_path / "run").accuracies == ncfm.evaluate(result.synthetic).accuracies
