"""Stored images per class: the same number for all classes, a number for each, or in proportion to the real images.

A set of unequal classes is held as a tensor as wide as its largest class; the places beyond a class's own number are
black, and never decoded, trained on or written.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.progress import counted

Ipc = int | tuple[int, ...]
"""Stored images of every class, or of each class."""

IpcSpec = int | str | Sequence[int]
"""What a user asks for: an `Ipc`, or ``"proportional:N"``."""

Spec = int | tuple[int, ...] | str
"""The same, checked; see `checked_spec`."""

PROPORTIONAL = "proportional:"


def checked_spec(spec: IpcSpec) -> Spec:
    """The images per class that a user asks for, in one form.

    >>> checked_spec(10), checked_spec("10"), checked_spec("1,5,10"), checked_spec("proportional:10")
    (10, 10, (1, 5, 10), 'proportional:10')

    Raises:
        InputError: unless it is a number, a number for each class, or ``proportional:N``, all at least 1.
    """
    shared = isinstance(spec, str) and spec.startswith(PROPORTIONAL)
    try:
        if isinstance(spec, str):
            texts = [spec.removeprefix(PROPORTIONAL)] if shared else spec.split(",")
            numbers = tuple(map(int, texts))
        else:
            numbers = tuple(map(operator.index, [spec] if isinstance(spec, int) else spec))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"Expected images per class as a number (10), one for each class (1,5,10) or proportional:N, got {spec!r}."
        ) from error
    check_at_least(min(numbers, default=0), 1, "ipc (images per class)")
    if shared:
        return f"{PROPORTIONAL}{numbers[0]}"
    return numbers[0] if len(numbers) == 1 else numbers


def counts_for(spec: Spec, real_counts: Tensor) -> Ipc:
    """The stored images per class for real data with these images per class (C,); one number if all are equal.

    "proportional:N" shares N images per class among the classes by their real images, at least one each: the largest
    remainders are rounded up, so that the sum is N C unless many classes are raised to 1.

    Raises:
        InputError: for another number of classes.
    """
    if isinstance(spec, int):
        return spec
    if isinstance(spec, str):
        spec = _proportional(real_counts.tolist(), int(spec.removeprefix(PROPORTIONAL)))
    if len(spec) != len(real_counts):
        raise InputError(
            f"Expected images per class for {counted(len(real_counts), 'class')}, got {counted(len(spec), 'number')}."
        )
    return spec[0] if len(set(spec)) == 1 else spec


def _proportional(real_counts: Sequence[int], mean: int) -> tuple[int, ...]:
    total, real = mean * len(real_counts), sum(real_counts)
    shares = [divmod(total * count, real) for count in real_counts]  # whole images, and the remainder
    counts = [max(whole, 1) for whole, _ in shares]
    whole_ones = [c for c, (whole, _) in enumerate(shares) if whole]  # the others are rounded up to 1 already
    by_remainder = sorted(whole_ones, key=lambda c: (-shares[c][1], c))
    for c in by_remainder[: max(total - sum(counts), 0)]:
        counts[c] += 1
    return tuple(counts)


def usual_ipc(spec: Spec) -> int | None:
    """The images per class of the recipe that fits: of all classes, or on average; None for a list of unequal ones.

    >>> usual_ipc(10), usual_ipc((2, 2)), usual_ipc((1, 2)), usual_ipc("proportional:10")
    (10, 2, None, 10)
    """
    if isinstance(spec, str):
        return int(spec.removeprefix(PROPORTIONAL))
    if isinstance(spec, int):
        return spec
    return spec[0] if len(set(spec)) == 1 else None


def as_counts(ipc: Ipc, num_classes: int) -> tuple[int, ...]:
    """The number of each class (C,)."""
    return (ipc,) * num_classes if isinstance(ipc, int) else ipc


def width_of(ipc: Ipc) -> int:
    """The largest number of a class: how wide the tensor is."""
    return ipc if isinstance(ipc, int) else max(ipc)


def mean_of(ipc: Ipc) -> float:
    """The mean over the classes; a whole number, if they are equal."""
    return ipc if isinstance(ipc, int) else sum(ipc) / len(ipc)


def in_use(counts: Sequence[int], width: int) -> Tensor:
    """Places (C, width) of a tensor of images that hold one, as booleans: the first ``counts[c]`` of class c."""
    return torch.arange(width) < torch.tensor(counts)[:, None]


def blackened(images: Tensor, counts: Sequence[int]) -> Tensor:
    """Images (C, ipc, c, h, w) with black ones in the places beyond the classes' own numbers."""
    used = in_use(counts, images.shape[1]).to(images.device)
    return images * used[:, :, None, None, None] if not bool(used.all()) else images


def in_words(spec: Spec) -> str:
    """What is asked for, as part of a name.

    >>> in_words(10), in_words((1, 5, 10)), in_words("proportional:10")
    ('10', '1+5+10', 'proportional-10')
    """
    return "+".join(map(str, spec)) if isinstance(spec, tuple) else str(spec).replace(":", "-")


def in_short(counts: Sequence[int]) -> str:
    """The numbers of images for people: ``10``, or ``1 to 10``.

    >>> in_short([10, 10]), in_short([1, 10, 5])
    ('10', '1 to 10')
    """
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low} to {high}"
