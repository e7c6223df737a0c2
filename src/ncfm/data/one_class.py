"""Data with several labels per image (multi-label) are refused: every image has one class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from ncfm._utils.checks import InputError


def check_one_class(labels: Iterable[Any], place: str) -> None:
    """Check that no label of several classes is among labels of any kind.

    A list of one item is one class. Lists of zeros and a single one, all of the same length, are one-hot: one class
    each. All other lists are several classes. Whether a label of one class is valid is not checked here.

    Args:
        labels: of the images: an array or tensor (n,) or (n, C), or a sequence of numbers, names, lists or arrays.
        place: name of the data, for the message.

    Raises:
        InputError: naming the first label of several classes.
    """
    if getattr(labels, "ndim", 2) == 1 and str(getattr(labels, "dtype", "")) != "object":  # an array of single labels
        return
    lists = [(row, label) for row, label in enumerate(labels) if _is_list(label)]
    lengths = {len(label) for _, label in lists}
    for row, label in lists:
        if len(label) > 1 and (len(lengths) > 1 or _names_several(label)):
            raise InputError(
                f"{place}: image {row} has several labels, {_shown(label)}; multi-label data are not supported, every "
                "image needs one class: choose one label per image, or leave out the images with several."
            )


def _is_list(label: Any) -> bool:
    """Whether a label is a list, a set, or an array of one axis."""
    return isinstance(label, (list, tuple, set, frozenset)) or getattr(label, "ndim", 0) == 1


def _names_several(label: Iterable[Any]) -> bool:
    """Whether a list of at least two items is not one-hot and no distribution over the classes."""
    values = np.asarray(list(label))
    if values.dtype.kind not in "biuf":  # names
        return True
    if np.isin(values, (0, 1)).all():
        return bool(values.sum() > 1)
    return bool(np.equal(values, np.round(values)).all())  # indices


def _shown(label: Iterable[Any]) -> str:
    items = [str(getattr(item, "item", lambda item=item: item)()) for item in label]
    return f"[{', '.join(items[:10])}{', ...' if len(items) > 10 else ''}]"
