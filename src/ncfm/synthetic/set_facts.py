"""Checks of ``set.json``: another program may have written it, or a person changed it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from ncfm._utils.checks import RunError
from ncfm._utils.progress import counted
from ncfm._utils.tensors import check_dense


def check_facts(facts: Mapping[str, Any], where: str) -> None:
    """Check that the entries from which a set is made have the form in which they are written.

    Raises:
        RunError: naming the first that has not.
    """
    for name, is_right in ENTRIES.items():
        value = facts.get(name)
        if not is_right(value) and (value is not None or name not in OPTIONAL):
            raise RunError(f"{where} is damaged: {name} is {str(value)[:40]!r}; distil the set again, or take a copy.")
    mean, std = facts["statistics"]["mean"], facts["statistics"]["std"]
    if len(mean) != len(std) or min(std) <= 0:
        raise RunError(f"{where} is damaged: its statistics are {mean} and {std}; distil the set again.")


def check_images(images: Tensor, facts: Mapping[str, Any], where: str) -> None:
    """Check the stored images of a set: float or uint8, and as many as its entries say.

    Raises:
        RunError: otherwise.
    """
    check_dense(images, where)
    counts = facts.get("counts")
    expected = images.ndim == (5 if counts is None else 4) and (counts is None or sum(counts) == len(images))
    if not expected or not (images.is_floating_point() or str(images.dtype) == "torch.uint8"):
        raise RunError(
            f"{where} has images {tuple(images.shape)} ({images.dtype}), which do not fit the entries of the set: "
            "damaged or mixed up."
        )
    channels = len(facts["statistics"]["mean"])
    if images.shape[-3] != channels:
        raise RunError(
            f"{where} has {counted(images.shape[-3], 'channel')}, but statistics of {channels}: damaged or mixed up."
        )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value < 2**31


def _is_list_of(is_right: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and len(value) > 0 and all(map(is_right, value))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_statistics(value: object) -> bool:
    numbers = _is_list_of(_is_number)
    return isinstance(value, dict) and numbers(value.get("mean")) and numbers(value.get("std"))


OPTIONAL = ("counts", "scores", "soft_labels")
ENTRIES: dict[str, Callable[[object], bool]] = {
    "version": _is_count,
    "class_names": _is_list_of(lambda name: isinstance(name, str)),
    "statistics": _is_statistics,
    "factor": _is_count,
    "mode": lambda value: isinstance(value, str),
    "bound": _is_count,
    "facts": lambda value: isinstance(value, dict),
    "counts": _is_list_of(_is_count),
    "scores": _is_list_of(lambda score: isinstance(score, dict)),
    "soft_labels": lambda value: isinstance(value, dict),
}
"""What each entry of ``set.json`` must be, of those that are read."""
