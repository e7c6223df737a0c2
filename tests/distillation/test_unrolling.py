"""Gradients through a student's training: closed form, differences of the gap itself, one way against the other."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from ncfm.distillation.unrolling import replayed, unrolled
from strategies import normal

M, D, C, N = 6, 4, 3, 5
P = D * 5 + 5 * C  # weights of a smooth network: tanh between two matrices


def network(weights, images):
    first, second = weights.split([D * 5, 5 * C])
    return torch.tanh(images.flatten(1) @ first.view(D, 5)) @ second.view(5, C)


def soft_loss(at):
    def loss(weights, images, labels):
        return F.cross_entropy(network(weights, images[at]), labels[at].softmax(-1))

    return loss


@pytest.fixture
def problem():
    """Steps on changing batches, so that each image and label is seen by some of them."""
    steps = [soft_loss(torch.tensor([(i + j) % M for j in range(3)])) for i in range(N)]
    start, target = normal(0, P), normal(1, P)
    return steps, start, target, normal(2, M, 1, 2, 2), normal(3, M, C), torch.tensor(0.3, dtype=torch.float64)


def test_one_step_in_closed_form():
    # loss = <w, x>, so g = x: theta_1 = theta_0 - eta x, and everything is a square.
    start, target = torch.tensor([1.0, 2.0]).double(), torch.tensor([0.0, 0.0]).double()
    x, eta = torch.tensor([[0.5, -1.0]]).double(), torch.tensor(0.2).double()
    steps = [lambda weights, images, labels: (weights * images[0]).sum()]
    moved = torch.tensor([0.9, 2.2]).double()
    for way in (unrolled, replayed):
        gap = way(steps, start, target, x, torch.zeros(1, 1).double(), eta)
        assert float(gap.value) == pytest.approx((0.81 + 4.84) / 5)
        assert_close(gap.images, (2 * moved * -0.2 / 5)[None])
        assert float(gap.step_size) == pytest.approx(2 * float((moved * -x[0]).sum()) / 5)
        assert_close(gap.labels, torch.zeros(1, 1).double())


@pytest.mark.parametrize("way", [unrolled, replayed])
@pytest.mark.parametrize("which", ["images", "labels", "step_size"])
def test_gradients_are_slopes_of_the_gap(problem, way, which):
    steps, start, target, *arguments = problem
    index = ("images", "labels", "step_size").index(which)
    gradient = getattr(way(steps, start, target, *arguments), which)
    direction = normal(4, max(gradient.numel(), 1)).view(gradient.shape)
    ends = []
    for sign in (1, -1):
        moved = list(arguments)
        moved[index] = arguments[index] + sign * 1e-5 * direction
        ends.append(float(way(steps, start, target, *moved).value))
    assert float((gradient * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-6, abs=1e-9)


def test_replayed_is_unrolled(problem):
    for a, b in zip(replayed(*problem), unrolled(*problem), strict=True):
        assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_without_curvature_the_weights_passed_are_constants(problem):
    """TESLA's expansion: theta_N = theta_0 - eta sum of g_i(X), with the weights of g_i held."""
    steps, start, target, images, labels, step_size = problem
    passed, weights = [], start
    for loss in steps:
        passed.append(weights)
        leaf = weights.clone().requires_grad_()
        weights = weights - step_size * torch.autograd.grad(loss(leaf, images, labels), leaf)[0]
    leaves = [t.clone().requires_grad_() for t in (images, labels, step_size)]
    total = torch.zeros(P).double()
    for loss, held in zip(steps, passed, strict=True):
        leaf = held.clone().requires_grad_()
        total = total + torch.autograd.grad(loss(leaf, *leaves[:2]), leaf, create_graph=True)[0]
    value = (start - leaves[2] * total - target).square().sum() / (start - target).square().sum()
    expected = torch.autograd.grad(value, leaves)
    found = replayed(*problem, curvature=False)
    assert_close(found.value, value.detach())
    for a, b in zip(found[1:], expected, strict=True):
        assert_close(a, b)
    assert float((found.images - replayed(*problem).images).norm()) > 1e-3  # it is another gradient


def test_a_single_step_has_no_curvature(problem):
    steps, *rest = problem
    for a, b in zip(replayed(steps[:1], *rest, curvature=False), replayed(steps[:1], *rest), strict=True):
        assert_close(a, b)


def test_the_memory_of_a_replay_does_not_grow_with_the_steps(problem):
    """Graphs alive at once: counted by what autograd saves and has not yet let go."""
    steps, *rest = problem
    alive, most = set(), []

    class Kept:
        def __init__(self, tensor):
            self.tensor = tensor
            alive.add(id(self))
            most.append(len(alive))

        def __del__(self):
            alive.discard(id(self))

    def peak(way, number):
        most.clear()
        with torch.autograd.graph.saved_tensors_hooks(Kept, lambda kept: kept.tensor):
            way((steps * 4)[:number], *rest)
        return max(most)

    assert peak(replayed, 4) == peak(replayed, 20)
    assert peak(unrolled, 20) > 3 * peak(unrolled, 4)


def test_nothing_is_changed_and_nothing_asks_for_gradients(problem):
    steps, *rest = problem
    before = [t.clone() for t in rest]
    for way in (unrolled, replayed):
        assert not any(t.requires_grad for t in way(steps, *rest))
    for a, b in zip(rest, before, strict=True):
        assert torch.equal(a, b)
        assert not a.requires_grad
