"""Nearest images against brute force in float64, and the plane against numpy's singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ncfm._utils.checks import NcfmError
from ncfm.evaluation.nearest_real import nearest, principal_plane
from strategies import rng


def brute_force(queries, references, exclude=None):
    gaps = (queries.double()[:, None] - references.double()).norm(dim=-1)
    if exclude is not None:
        for i, at in enumerate(exclude.tolist()):
            if at >= 0:
                gaps[i, at] = torch.inf
    values, at = gaps.sort(dim=1)
    return at[:, 0], values[:, 0], values[:, 1]


@pytest.mark.parametrize("part", [1, 7, 64, 1000])
@pytest.mark.parametrize("width", [1, 3, 40])
def test_nearest_equals_brute_force_however_it_is_cut(part, width):
    queries = torch.randn(20, width, generator=rng(1))
    references = torch.randn(200, width, generator=rng(2))
    found = nearest(queries, references.split(part))
    at, first, second = brute_force(queries, references)
    assert torch.equal(found.at, at)
    assert torch.allclose(found.distance.double(), first, atol=1e-6)
    assert torch.allclose(found.second.double(), second, atol=1e-6)


def test_an_image_is_not_its_own_neighbour():
    references = torch.randn(50, 6, generator=rng(3))
    exclude = torch.tensor([4, 49, -1])
    queries = references[[4, 49, 10]]
    found = nearest(queries, references.split(8), exclude=exclude)
    at, first, _ = brute_force(queries, references, exclude)
    assert torch.equal(found.at, at)
    assert torch.allclose(found.distance.double(), first, atol=1e-6)
    assert found.distance[2] == 0
    assert found.at[2] == 10


def test_small_distances_of_large_vectors_are_exact():
    # In float32 the squares are about 1e5, so that products alone would know distances to a tenth only.
    references = 10 + torch.randn(30, 1000, generator=rng(4))
    queries = references[[3, 20]] + torch.tensor([[1e-4], [2e-4]])
    found = nearest(queries, references.split(11))
    assert found.at.tolist() == [3, 20]
    exact = (queries.double() - references[[3, 20]].double()).norm(dim=1)
    assert torch.allclose(found.distance.double(), exact, rtol=1e-4)


def test_a_single_reference_has_no_second():
    found = nearest(torch.zeros(2, 3), [torch.ones(1, 3)])
    assert found.second.tolist() == [torch.inf, torch.inf]
    assert found.distance.tolist() == pytest.approx([3**0.5] * 2)


def test_nothing_to_compare_with_is_reported():
    with pytest.raises(NcfmError, match="references"):
        nearest(torch.zeros(2, 3), [])
    with pytest.raises(NcfmError, match="references"):
        nearest(torch.zeros(1, 3), [torch.ones(1, 3)], exclude=torch.tensor([0]))
    with pytest.raises(NcfmError, match="width 3"):
        nearest(torch.zeros(1, 3), [torch.ones(1, 4)])


@pytest.mark.parametrize(("n", "d"), [(60, 5), (40, 40), (12, 90)])
def test_the_plane_is_numpys(n, d):
    x = torch.randn(n, d, generator=rng(n)) * torch.linspace(3, 0.5, d)
    plane = principal_plane(x)
    centred = x.double().numpy() - x.double().numpy().mean(0)
    _, values, axes = np.linalg.svd(centred, full_matrices=False)
    for axis, row in zip(plane.axes.T.numpy(), axes, strict=False):
        row = row * np.sign(row[np.abs(row).argmax()])
        np.testing.assert_allclose(axis, row, atol=1e-8)
    np.testing.assert_allclose(plane.shares, values[:2] ** 2 / (values**2).sum(), rtol=1e-9)
    signs = np.sign(plane.axes.T.numpy() @ axes[:2].T).diagonal()
    np.testing.assert_allclose(plane.project(x).numpy(), (centred @ axes[:2].T) * signs, atol=1e-8)


def test_the_plane_of_others_is_that_of_the_first():
    x, y = torch.randn(30, 6, generator=rng(1)), torch.randn(4, 6, generator=rng(2))
    plane = principal_plane(x)
    assert torch.allclose(plane.project(y), (y.double() - x.double().mean(0)) @ plane.axes)
    assert torch.allclose(plane.axes.T @ plane.axes, torch.eye(2, dtype=torch.float64), atol=1e-10)


@pytest.mark.parametrize("x", [torch.randn(2, 5), torch.randn(9, 1), torch.ones(9, 5)])
def test_points_without_a_plane_are_reported(x):
    with pytest.raises(NcfmError, match="at least 3 different points"):
        principal_plane(x)
