r"""Gradients through the training of a student: how images change its weights after N steps.

A student starts at weights :math:`\theta_0` and takes steps :math:`\theta_{i+1} = \theta_i - \eta\,g_i` with
:math:`g_i = \nabla_\theta \ell(\theta_i, X_i, Y_i)`. Its gap to the target is

.. math:: L = \|\theta_N - \theta^*\|^2 / \|\theta_0 - \theta^*\|^2

There are three ways to compute its gradient in images X, labels Y and step size eta:

- `unrolled`: autograd through all steps. It is exact. It keeps the graph of every step, so memory grows with N.
- `replayed`: the same exact gradient, one step at a time. It starts with the adjoint
  :math:`\lambda_N = \partial L / \partial\theta_N` and goes backwards over the steps. Each step is recomputed from its
  stored weights (P numbers):

  .. math::
      dX_i = -\eta\,\partial_X \langle g_i, \lambda_{i+1}\rangle, \quad
      d\eta = -\langle g_i, \lambda_{i+1}\rangle, \quad
      \lambda_i = \lambda_{i+1} - \eta\,\partial_\theta \langle g_i, \lambda_{i+1}\rangle

- `replayed` without curvature: :math:`\lambda_i = \lambda_N` for all i. It is not exact: it leaves out how a step
  changes the gradients of later steps. This is TESLA.

Finite differences of first-order gradients would need no second derivatives, but are not offered. They count the kinks
of a rectifier, which second derivatives rightly ignore, so their gradient in the images is different.

References:
    Cazenavette et al., "Dataset Distillation by Matching Training Trajectories", CVPR 2022 (the gap, unrolled).
    Cui, Wang, Si and Hsieh, "Scaling Up Dataset Distillation to ImageNet-1K with Constant Memory" (TESLA), ICML 2023.
    Griewank and Walther, "Evaluating Derivatives", 2nd ed., SIAM 2008, chapter 12 (replaying from checkpoints).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm import kernels

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The loss of a step: (weights (P,), images (M, c, h, w), labels (M, C)) -> (). It selects and augments its batch."""


class Gap(NamedTuple):
    """The normalised squared distance from a student to its target, and its gradients."""

    value: Tensor  # ()
    images: Tensor  # like the images
    labels: Tensor  # like the labels
    step_size: Tensor  # ()


def unrolled(
    steps: Sequence[Loss], start: Tensor, target: Tensor, images: Tensor, labels: Tensor, step_size: Tensor
) -> Gap:
    """The gap and its exact gradients by autograd through all steps. Memory grows with their number.

    Args:
        steps: the loss of each of the N steps; twice differentiable.
        start: theta_0, (P,).
        target: theta*, (P,).
        images: (M, c, h, w).
        labels: (M, C).
        step_size: eta, ().
    """
    images, labels, step_size = (t.detach().requires_grad_() for t in (images, labels, step_size))
    weights = start.detach().requires_grad_()
    with torch.enable_grad(), kernels.differentiated_twice():
        for loss in steps:
            (gradient,) = torch.autograd.grad(loss(weights, images, labels), weights, create_graph=True)
            weights = weights - step_size * gradient
        value = (weights - target).square().sum() / (start - target).square().sum()
        gradients = torch.autograd.grad(value, [images, labels, step_size], materialize_grads=True)
    return Gap(value.detach(), *gradients)


def replayed(
    steps: Sequence[Loss],
    start: Tensor,
    target: Tensor,
    images: Tensor,
    labels: Tensor,
    step_size: Tensor,
    *,
    curvature: bool = True,
) -> Gap:
    """The gap and its gradients in the memory of one step, in addition to the weights of the N steps.

    Args:
        steps, start, target, images, labels, step_size: as in `unrolled`.
        curvature: False leaves out how a step changes the gradients of later steps (TESLA).
    """
    images, labels, step_size = images.detach(), labels.detach(), step_size.detach()
    visited, weights = [], start.detach()
    for loss in steps:
        visited.append(weights)
        weights = weights - step_size * _gradient(loss, weights, images, labels)
    scale = (start - target).square().sum()
    value = (weights - target).square().sum() / scale
    adjoint = 2 * (weights - target) / scale  # lambda
    to_images, to_labels, to_step_size = torch.zeros_like(images), torch.zeros_like(labels), torch.zeros_like(step_size)
    for loss, at in zip(reversed(steps), reversed(visited), strict=True):
        product, in_weights, in_images, in_labels = _mixed(loss, at, images, labels, adjoint)
        to_images -= step_size * in_images
        to_labels -= step_size * in_labels
        to_step_size -= product
        if curvature:
            adjoint = adjoint - step_size * in_weights
    return Gap(value, to_images, to_labels, to_step_size)


def _gradient(loss: Loss, weights: Tensor, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the loss in the weights, without a graph."""
    weights = weights.detach().requires_grad_()
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(loss(weights, images, labels), weights)
    return gradient


def _mixed(
    loss: Loss, weights: Tensor, images: Tensor, labels: Tensor, direction: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """<g, direction>, and its gradients in weights, images and labels."""
    leaves = [t.detach().requires_grad_() for t in (weights, images, labels)]
    with torch.enable_grad(), kernels.differentiated_twice():
        (gradient,) = torch.autograd.grad(loss(*leaves), leaves[0], create_graph=True)
        product = (gradient * direction).sum()
        in_weights, in_images, in_labels = torch.autograd.grad(product, leaves, materialize_grads=True)
    return product.detach(), in_weights, in_images, in_labels
