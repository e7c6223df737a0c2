"""How many images go through a network at a time, by the memory that an iteration may take.

Passes of whole classes cost no time: the gradients of a class depend on no other class, so that each pass takes its own
and frees its activations. Only a class that does not fit is cut, and its activations are computed twice
(`ncfm.networks.features.in_chunks`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ncfm._utils.checks import InputError

# Memory of a pass over what autograd keeps of it: the backward pass adds its temporaries, and the heap is fragmented. A
# test checks that a stated memory is kept.
PASS_PEAK = 2.5
MEMORY_SHARE = 0.25  # of the free memory that the activations of a pass may take, unless a memory is stated
CPU_PASS_BYTES = 2**26  # of activations: larger passes are no faster on a CPU
PASSES_AT_ONCE = 8  # passes without gradient whose images are converted to floats together
CPU_CHUNK, GPU_CHUNK = 64, 2048  # images of 32 px: a layer's activations fit a CPU's cache, and fill a GPU


@dataclass(frozen=True)
class Memory:
    """What is known of the memory of an iteration before it runs, in bytes.

    Args:
        per_image: activations that autograd keeps of an image of a pass.
        free: on the device; None if unknown.
        stated: that an iteration may take above what the process holds before; None if not stated.
        fixed: what an iteration takes in any passes: optimizer, copies, features, frequencies.
    """

    per_image: int
    free: int | None
    stated: int | None = None
    fixed: int = 0

    @property
    def fitting(self) -> int | None:
        """Images whose activations fit, at least one; None for any number."""
        if self.stated is not None:
            room = (self.stated - self.fixed) / PASS_PEAK
        elif self.free is not None:
            room = MEMORY_SHARE * self.free
        else:
            return None
        return max(int(room / self.per_image), 1)

    def check(self) -> None:
        """Raise InputError if the stated memory is not enough for a pass of one image."""
        least = self.fixed + PASS_PEAK * self.per_image
        if self.stated is not None and self.stated < least:
            raise InputError(
                f"An iteration takes at least {math.ceil(least / 2**20)} MiB with passes of one image, "
                f"got machine.memory_mb={self.stated // 2**20}; raise it, or lower --ipc, "
                "distill.real_batch_per_class or frequencies.number."
            )


def pass_with_gradient(
    memory: Memory, *, total: int, of_a_class: int, device: torch.device, by_classes: bool
) -> int | None:
    """Synthetic images per pass with gradient; None for all in one.

    Args:
        memory: of the iteration.
        total: synthetic images.
        of_a_class: images of the largest class.
        device: on a CPU passes by classes are no larger than `CPU_PASS_BYTES`, or a class.
        by_classes: whether passes may hold a part of the classes.
    """
    fitting = memory.fitting
    if by_classes and device.type == "cpu" and memory.stated is None and fitting is not None:
        fitting = min(fitting, max(CPU_PASS_BYTES // memory.per_image, of_a_class))
    return None if fitting is None or total <= fitting else fitting


def pass_without_gradient(memory: Memory, device: torch.device) -> int:
    """Images per pass without gradient: as many as suit the device, and fit into the memory."""
    usual, fitting = usual_chunk(device), memory.fitting
    return usual if fitting is None else min(usual, fitting)


def usual_chunk(device: torch.device) -> int:
    """Images per pass without gradient that suit a device."""
    return CPU_CHUNK if device.type == "cpu" else GPU_CHUNK


def class_slices(counts: list[int], part: slice, images_per_pass: int | None) -> list[slice]:
    """The classes of a part in as few slices as hold at most so many images each, but at least one class.

    The slices hold about as many images each, so that the largest is small.

    Args:
        counts: images of each class.
        part: of the classes.
        images_per_pass: at most; None for all.

    >>> class_slices([4] * 10, slice(None), 16)
    [slice(0, 4, None), slice(4, 7, None), slice(7, 10, None)]
    """
    first, end, _ = part.indices(len(counts))
    left = sum(counts[first:end])
    if images_per_pass is None or left <= images_per_pass or end - first < 2:
        return [part]
    slices, start, held = list[slice](), first, 0
    number = -(-left // images_per_pass)
    for index in range(first, end):
        even = left / max(number - len(slices), 1)  # images of each slice that is still to come
        if held and (held >= even or held + counts[index] > images_per_pass):
            slices.append(slice(start, index))
            left, start, held = left - held, index, 0
        held += counts[index]
    return [*slices, slice(start, end)]
