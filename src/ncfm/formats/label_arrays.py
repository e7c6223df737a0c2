"""The labels of external sets: class indices, probabilities, or logits."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_finite
from ncfm.data.one_class import check_one_class

SUM_ERROR = 0.01  # of probabilities in half precision
CENTRED = 0.05  # of a row's largest value: the labels of KIP sum to 0 within 0.012
Use = Literal["auto", "hard", "soft"]


class SetLabels(NamedTuple):
    """The labels of the images of a set."""

    classes: Tensor  # (n,) int64
    log_probabilities: Tensor | None  # (n, K) float32; None: hard labels
    note: str = ""  # how they were read


def read_labels(labels: Tensor, count: int, num_classes: int, where: str, use: Use = "auto") -> SetLabels:
    """Labels in any form that published sets have.

    Read are class indices (also whole floats, in any shape of ``count`` numbers), and matrices (n, K): one-hot labels,
    probabilities, logarithms of probabilities, and logits, of which the softmax is taken, as DATM and DD-Ranking do.

    Real numbers of which each row sums to 0 are what KIP stores: targets of a regression, one-hot labels minus 1/K that
    were then learned. Logits may be like that, too. So they are refused, unless ``use`` decides.

    Args:
        labels: as stored.
        count: number n of images.
        num_classes: K.
        where: names the set in messages.
        use: "hard" takes the class with the largest value of any matrix, "soft" takes centred real numbers as logits.

    Raises:
        InputError: for labels of another shape, with fractions, or of an unclear kind.
    """
    if labels.ndim >= 3 and labels.numel() > count:
        raise InputError(
            f"{where}: expected one label per image, got {tuple(labels.shape)}: labels of every epoch belong to the "
            "crops of one training run. Store their mean over epochs, (n, C), or class indices."
        )
    if labels.ndim == 2 and labels.shape[1] > 1 and labels.numel() != count:  # otherwise (C, ipc)
        return soft_labels(labels, num_classes, where, use)
    labels = labels.flatten()
    if labels.is_floating_point() and not torch.equal(labels, labels.round()):
        raise InputError(f"{where}: expected class indices as labels, got {labels.dtype} with fractions.")
    return SetLabels(labels.long(), None)


def soft_labels(values: Tensor, num_classes: int, where: str, use: Use = "auto") -> SetLabels:
    """Labels (n, K) with a number for every class, see `read_labels`."""
    if values.ndim != 2 or values.shape[1] != num_classes:
        raise InputError(f"{where}: expected soft labels (n, {num_classes}), got {tuple(values.shape)}.")
    classes = values.double().argmax(1)
    one_hot = torch.nn.functional.one_hot(classes, values.shape[1])
    if torch.equal(values.double(), one_hot.double()):
        return SetLabels(classes, None)
    if bool(((values == 0) | (values == 1)).all()):
        check_one_class(values, where)
    if not values.is_floating_point():
        raise InputError(f"{where}: expected one-hot labels or floats, got {values.dtype} {tuple(values.shape)}.")
    values = values.float()
    check_finite(values[values != -torch.inf], f"{where}: the array of labels")  # log 0 is a logarithm
    if use == "hard":
        return SetLabels(classes, None, f"{where}: the class of an image is the largest of its labels.")
    if _are_probabilities(values):
        return SetLabels(classes, (values / values.sum(1, keepdim=True)).log(), f"{where}: labels are probabilities.")
    logs = values.log_softmax(1)
    if _are_probabilities(values.exp()):
        return SetLabels(classes, logs, f"{where}: labels are logarithms of probabilities.")
    if use == "auto" and _are_centred(values):
        raise InputError(
            f"{where}: labels are real numbers from {float(values.min()):.3g} to {float(values.max()):.3g} that sum to "
            "0 for each image: targets of a regression (KIP), or logits. Choose the largest one as the class (--set "
            "evaluate.labels=hard), or their softmax (--set evaluate.labels=soft)."
        )
    return SetLabels(classes, logs, f"{where}: labels are taken as logits, of which the softmax is used.")


def _are_probabilities(values: Tensor) -> bool:
    return bool((values >= 0).all()) and bool(((values.double().sum(1) - 1).abs() < SUM_ERROR).all())


def _are_centred(values: Tensor) -> bool:
    return bool((values.sum(1).abs() < CENTRED * values.abs().amax(1)).all())
