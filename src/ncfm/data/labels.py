"""Labels in any usual form as class numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from ncfm._utils.checks import InputError, describe
from ncfm._utils.progress import counted
from ncfm.data.one_class import check_one_class
from ncfm.data.pixels import as_array
from ncfm.data.split_names import shortened

UNLABELLED = -1  # as the hub numbers images of a test split without labels


class PlainLabels(NamedTuple):
    """Labels that are all numbers, or all names."""

    values: Sequence[int] | Sequence[str]
    num_classes: int | None  # known only of one-hot labels

    @property
    def are_names(self) -> bool:
        """Whether they are class names."""
        return bool(self.values) and isinstance(self.values[0], str)

    @property
    def are_missing(self) -> bool:
        """Whether they say of no image what it is."""
        return bool(self.values) and all(value == UNLABELLED for value in self.values)

    def remarks(self) -> tuple[str, ...]:
        """What was done to them."""
        if self.num_classes is None:
            return ()
        return (f"one-hot labels of {counted(self.num_classes, 'class')} are numbered",)


def plain_labels(labels: Iterable[Any], split: str) -> PlainLabels:
    """Labels as numbers or names.

    Args:
        labels: whole numbers of any type, also as (n, 1) or 0-d arrays and tensors; names; or one-hot rows. None
            throughout stands for images without labels, and becomes `UNLABELLED`.
        split: its name for messages.

    Raises:
        InputError: for soft labels, several classes of one image, fractions, missing labels, or a mixture of forms.
    """
    labels = _listed(labels, split)
    check_one_class(labels, split)
    values = [_value(label, f"{split}: label {i}") for i, label in enumerate(labels)]
    if values and all(value is None for value in values):
        return PlainLabels([UNLABELLED] * len(values), None)
    widths = {value.size for value in values if isinstance(value, np.ndarray)}
    if len(widths) > 1 or (widths and not all(isinstance(value, np.ndarray) for value in values)):
        raise InputError(f"{split}: expected labels of one form, got vectors and numbers, or of different lengths.")
    if widths:
        return PlainLabels([_hot(row, f"{split}: label {i}") for i, row in enumerate(values)], widths.pop())
    names = [isinstance(value, str) for value in values]
    if any(names) and not all(names):
        raise InputError(f"{split}: expected labels that are all numbers or all names, got both.")
    if any(names):
        return PlainLabels(values, None)
    return PlainLabels([_whole(value, f"{split}: label {i}") for i, value in enumerate(values)], None)


def names_of(train: PlainLabels, own: tuple[str, ...] | None, given: Sequence[str] | None) -> tuple[str, ...] | None:
    """The class names of a set: those given, else the training split's own, else its labels in sorted order.

    Raises:
        InputError: if more or fewer are given than there are classes, or they are not a sequence.
    """
    if isinstance(given, (str, Mapping)):
        raise InputError(f"class_names: expected a sequence of names, got {type(given).__name__}.")
    known = len(own) if own is not None else train.num_classes
    if given is not None:
        if known not in (None, len(given)):
            raise InputError(f"class_names: expected {counted(known, 'name')}, as there are classes, got {len(given)}.")
        return tuple(map(str, given))
    if own is not None:
        return own
    if train.are_names:
        return tuple(sorted({str(value) for value in train.values}))
    return None if known is None else tuple(map(str, range(known)))


def numbered(labels: PlainLabels, names: tuple[str, ...] | None, split: str) -> list[int]:
    """Class numbers: names are looked up, numbers checked. Images without labels are left to the caller.

    Args:
        labels: of a split.
        names: of the classes by number; None: as many as the largest label says.
        split: its name for messages.

    Raises:
        InputError: for a label that is none of the classes, and numbers of more classes than there are.
    """
    if labels.num_classes is not None and names is not None and labels.num_classes != len(names):
        raise InputError(
            f"{split}: expected one-hot labels of {counted(len(names), 'class')}, got {labels.num_classes}."
        )
    if labels.are_names:
        return _looked_up([str(value) for value in labels.values], names, split)
    numbers = [int(value) for value in labels.values]
    if labels.are_missing:
        return numbers
    end = None if names is None else len(names)
    for i, number in enumerate(numbers):
        if number < 0:
            raise InputError(f"{split}: expected labels from 0, got {number} of image {i}; leave out such images.")
        if end is not None and number >= end:
            raise InputError(
                f"{split}: expected labels below {end}, for the classes {shortened(names or ())}; got {number} of "
                f"image {i}. Name all classes (class_names), or number them from 0."
            )
    return numbers


def _listed(labels: Any, split: str) -> Sequence[Any] | np.ndarray:
    """Labels as a list, or as an array: items of tensors are slow."""
    try:
        return as_array(labels, f"{split}: the labels") if isinstance(labels, torch.Tensor) else list(labels)
    except TypeError as error:
        raise InputError(f"{split}: expected a label of every image, got {describe(labels)}.") from error


def _looked_up(labels: Sequence[str], names: tuple[str, ...] | None, split: str) -> list[int]:
    if names is None:
        raise InputError(f"{split}: the labels are names, those of the training split are numbers; use one of them.")
    number = {name: i for i, name in enumerate(names)}
    if len(number) < len(names):
        raise InputError(f"{split}: the labels are names, of which some stand for two classes; number the classes.")
    unknown = sorted({label for label in labels if label not in number})
    if unknown:
        raise InputError(
            f"{split}: no class is named {shortened(unknown)}; the classes are {shortened(names)}. Labels, class_names "
            "and the training split must use the same names."
        )
    return [number[label] for label in labels]


def _value(label: Any, where: str) -> Any:
    """A label as a number, a name, None, or a vector of several numbers."""
    if label is None or isinstance(label, (str, int)):
        return label
    if isinstance(label, bytes):
        return label.decode(errors="replace")
    array = as_array(label, where)
    if array.size != 1:
        return array
    value = array.reshape(()).item()
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _whole(label: Any, where: str) -> int:
    """A label as an integer."""
    try:
        number = int(label)
        if number == label:
            return number
    except (TypeError, ValueError, OverflowError):
        pass
    raise InputError(f"{where}: expected labels that are whole numbers or names, got {label!r}.")


def _hot(row: np.ndarray, where: str) -> int:
    """The class of a one-hot row."""
    if row.ndim == 1 and row.dtype.kind in "biuf" and row.size:
        values = row.astype(float)
        if np.isin(values, (0, 1)).all():
            if values.sum() == 1:
                return int(values.argmax())
            raise InputError(f"{where}: expected one class, got none in a row of {row.size} zeros.")
        if (values >= 0).all() and abs(values.sum() - 1) < 1e-2:
            raise InputError(f"{where}: expected one class, got soft labels; take the largest: labels.argmax(1).")
    raise InputError(f"{where}: expected a whole number, a name, or a one-hot row; got {row.dtype} {row.shape}.")
