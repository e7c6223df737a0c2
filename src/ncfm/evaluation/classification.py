"""Metrics of logits in addition to the top-1 accuracy."""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least, check_labels
from ncfm._utils.types import Labels


def confusion_matrix(logits: Tensor, labels: Labels) -> Tensor:
    """Counts (C, C), int64, on the CPU: rows are true classes, columns predicted ones.

    Args:
        logits: (n, C), any device.
        labels: (n,) int64, 0 .. C-1.

    Raises:
        NcfmError: for inconsistent shapes, no images, labels out of range, or logits that are not finite.

    >>> confusion_matrix(torch.tensor([[2.0, 1.0], [0.0, 3.0], [4.0, 0.0]]), torch.tensor([0, 1, 1]))
    tensor([[1, 0],
            [1, 1]])
    """
    _check_logits(logits, labels)
    num_classes = logits.shape[1]
    cells = labels.cpu() * num_classes + logits.argmax(1).cpu()  # (n,) row-major
    return torch.bincount(cells, minlength=num_classes**2).view(num_classes, num_classes)


def per_class_accuracy(confusion: Tensor) -> Tensor:
    """Share of the images of each class that are classified correctly, (C,) float64; NaN for a class without images.

    Args:
        confusion: (C, C) counts of `confusion_matrix`, or a sum of several.

    Raises:
        NcfmError: for a matrix that is not square.

    >>> per_class_accuracy(torch.tensor([[3, 1], [0, 0]]))
    tensor([0.7500,    nan], dtype=torch.float64)
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise InputError(f"Expected a confusion matrix of shape (C, C), got {tuple(confusion.shape)}.")
    confusion = confusion.double()
    return confusion.diagonal() / confusion.sum(1)


def expected_calibration_error(logits: Tensor, labels: Labels, *, bins: int = 15) -> float:
    """ECE in [0, 1], the mean gap between the confidence of a network and its accuracy.

        ECE = sum over bins b of  (n_b / n) | accuracy_b - confidence_b |

    The confidence of an image is the probability of the predicted class; bin b holds the images with a confidence in
    ((b - 1) / bins, b / bins]. By chance it is above 0: compare only values for equal numbers of images and bins.

    Args:
        logits: (n, C), any device.
        labels: (n,) int64, 0 .. C-1.
        bins: number of bins of equal width.

    Raises:
        NcfmError: for inconsistent shapes, no images, labels out of range, logits that are not finite, or no bins.

    Reference: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, arXiv 1706.04599.

    >>> expected_calibration_error(torch.tensor([[0.0, 1000.0], [1000.0, 0.0]]), torch.tensor([1, 1]))
    0.5
    """
    check_at_least(bins, 1, "bins")
    _check_logits(logits, labels)
    # Double precision on the CPU: the terms of the sums cancel, and not every accelerator supports it.
    confidence, predicted = logits.detach().cpu().double().softmax(1).max(1)
    excess = (predicted == labels.cpu()).double() - confidence  # summed over a bin: n_b (accuracy_b - confidence_b)
    edges = torch.arange(1, bins, dtype=torch.float64) / bins
    gaps = torch.bincount(torch.bucketize(confidence, edges), weights=excess, minlength=bins)
    return min(float(gaps.abs().sum()) / len(labels), 1.0)


def _check_logits(logits: Tensor, labels: Tensor) -> None:
    if logits.ndim != 2 or labels.ndim != 1 or len(logits) != len(labels) or logits.numel() == 0:
        raise InputError(
            f"Expected logits of shape (n, C) and labels of shape (n,), at least one of each, "
            f"got {tuple(logits.shape)} and {tuple(labels.shape)}."
        )
    check_labels(labels, logits.shape[1])
    if not bool(torch.isfinite(logits).all()):
        raise InputError("The logits hold NaN or infinity: the network diverged in training; lower its learning rate.")
