"""The sizes of an iteration's passes: by its settings, or by what is known of its memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from ncfm._utils.device import available_memory
from ncfm.distillation.objective import draw_once
from ncfm.distillation.pass_sizes import Memory, pass_with_gradient, pass_without_gradient
from ncfm.networks.features import kept_bytes_per_image

if TYPE_CHECKING:
    from ncfm.distillation.minmax_step import MinMaxStep

IMAGE_COPIES = 9  # held in an iteration, of the stored images: optimizer, gradients, copies to roll back
FREQUENCY_COPIES = 6  # the same of the frequencies: noise, scales, gradients
FLOAT_BYTES = 4


def choose_passes(step: MinMaxStep) -> tuple[int, int | None]:
    """Images per pass without gradient, and synthetic ones per pass with gradient (None for all).

    Raises:
        InputError: if the stated memory is not enough for a pass of one image.
    """
    memory, device, compute = memory_of(step), step.images.tensors[0].device, step.compute
    memory.check()
    return compute.chunk_size or pass_without_gradient(memory, device), (
        compute.gradient_chunk_size
        or pass_with_gradient(
            memory,
            total=step.num_training_images,
            of_a_class=max(step.images_of_class),
            device=device,
            by_classes=step.passes_by_classes,
        )
    )


def memory_of(step: MinMaxStep) -> Memory:
    """What is known of the memory of an iteration."""
    stored, stated = step.images.tensors[0], step.compute.memory_mb
    free = available_memory(stored.device)
    if free is None and stated is None:
        return Memory(1, None)
    with torch.no_grad():
        image = step.formation.decode(stored[:1, :1]).flatten(0, 1)[:1]
    # On a GPU not of the compiled network: two more compilations would take longer than they save. It keeps more.
    measured = step.extract if stored.device.type == "cpu" else step.extract.uncompiled()
    kept = kept_bytes_per_image(measured, image)
    return Memory(kept, free) if stated is None else Memory(kept, free, stated * 2**20, fixed_bytes(step))


def fixed_bytes(step: MinMaxStep) -> int:
    """Memory of an iteration in any passes: images and their optimizer, frequencies, features that are kept."""
    rng = torch.Generator(device=step.streams["frequencies"].device).manual_seed(0)
    with torch.no_grad():
        t = draw_once(step.objective, rng).frequencies
    kept = len(step.real.counts) * step.matching.real_batch_per_class if step.reuses_real_features else 0
    numbers = IMAGE_COPIES * step.images.tensors[0].numel() + kept * step.extract.num_features
    return FLOAT_BYTES * (numbers + (0 if t is None else FREQUENCY_COPIES * t.numel()))
