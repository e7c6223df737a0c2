"""Input checks. Every message states what was expected, what was received, and how to fix it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ncfm._utils.progress import counted

if TYPE_CHECKING:  # the command line needs the errors of this file before it needs PyTorch, which is slow to import
    from torch import Tensor


class NcfmError(Exception):
    """Base of all errors of ncfm; the command line prints their message without a traceback."""

    exit_code = 1


class InputError(NcfmError, ValueError):
    """Invalid input: data, settings, files or arguments that the user can correct."""

    exit_code = 2  # usage


class RunError(NcfmError, RuntimeError):
    """A run that failed with valid input: a full disk, a damaged file, a loss that is not finite."""

    exit_code = 1


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the known name nearest to ``name``, whatever its case, or an empty string."""
    by_lower = {candidate.lower(): candidate for candidate in reversed(list(known))}
    matches = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.5)
    return f" Did you mean {by_lower[matches[0]]!r}?" if matches else ""


def check_known(name: str, known: Iterable[str], what: str) -> str:
    """Return ``name`` if it is one of ``known``.

    Raises:
        InputError: if it is not; the message has the nearest known name and all of them.
    """
    known = sorted(known)
    if name not in known:
        raise InputError(f"Unknown {what} {name!r}.{nearest(name, known)} Known: {', '.join(known)}.")
    return name


def check_at_least(value: float, low: float, name: str) -> None:
    """Raise InputError unless ``value >= low``."""
    if not value >= low:
        raise InputError(f"{name} must be at least {low}, got {value}.")


def check_positive(value: float, name: str) -> None:
    """Raise InputError unless ``value > 0``."""
    if not value > 0:
        raise InputError(f"{name} must be above 0, got {value}.")


def check_fraction(value: float, name: str) -> None:
    """Raise InputError unless ``0 <= value <= 1``."""
    if not 0.0 <= value <= 1.0:
        raise InputError(f"{name} must lie in [0, 1], got {value}.")


def check_matrix_pair(x: Tensor, y: Tensor, what: str = "features") -> None:
    """Raise InputError unless x is (..., n, d) and y is (..., m, d) with equal leading axes and equal d."""
    if x.ndim < 2 or y.ndim < 2 or x.shape[-1] != y.shape[-1] or x.shape[:-2] != y.shape[:-2]:
        raise InputError(
            f"Expected {what} of shapes (..., n, d) and (..., m, d) that agree but for n and m, "
            f"got {tuple(x.shape)} and {tuple(y.shape)}."
        )
    if x.shape[-2] == 0 or y.shape[-2] == 0:
        raise InputError(f"Expected at least one row of {what} on each side, got {x.shape[-2]} and {y.shape[-2]}.")


def check_labels(labels: Tensor, num_classes: int) -> None:
    """Raise InputError unless the labels are int64 in 0 .. num_classes - 1."""
    if str(labels.dtype) != "torch.int64":
        raise InputError(f"Labels must be int64 class indices, got {labels.dtype}; convert with labels.long().")
    if labels.numel() and not (int(labels.min()) >= 0 and int(labels.max()) < num_classes):
        raise InputError(
            f"Labels must lie in 0..{num_classes - 1} for {counted(num_classes, 'class')}, "
            f"got {int(labels.min())}..{int(labels.max())}."
        )


def check_finite(tensor: Tensor, name: str) -> None:
    """Raise InputError if the tensor has a NaN or an infinity; the message has their number."""
    bad = int((~tensor.isfinite()).sum())
    if bad:
        are = "is" if bad == 1 else "are"
        raise InputError(
            f"{name} has {counted(bad, 'value')} that {are} not finite (NaN or infinity) of {tensor.numel()}; "
            "clean or drop those images first."
        )


def check_factor(image_size: int, factor: int) -> None:
    """Raise InputError unless factor x factor tiles of at least one pixel fit into an image of this size."""
    if not 1 <= factor <= image_size:
        raise InputError(f"factor must lie in 1..{image_size}, the image size, got {factor}.")


def describe(value: Any) -> str:
    """A short description of a value for an error message: type, and shape if it has one."""
    name = type(value).__name__
    try:
        return f"{name} of shape {tuple(value.shape)}"
    except Exception:  # it has none, or one that is not a tuple, as nested tensors
        return name
