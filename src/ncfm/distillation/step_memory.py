"""The sizes of an iteration's passes: by its settings, or by what is known of its memory; halved where it runs out."""

from __future__ import annotations

import torch

from ncfm._utils.compute import Compute
from ncfm._utils.device import available_memory
from ncfm.distillation.objective import Objective, draw_once
from ncfm.distillation.pass_sizes import Memory, pass_with_gradient, pass_without_gradient
from ncfm.distillation.step_gradients import StepGradients
from ncfm.distillation.synthetic_batch import SyntheticBatch
from ncfm.networks.features import kept_bytes_per_image

IMAGE_COPIES = 9  # held in an iteration, of the stored images: optimizer, gradients, copies to roll back
FREQUENCY_COPIES = 6  # the same of the frequencies: noise, scales, gradients
FLOAT_BYTES = 4


def choose_passes(
    gradients: StepGradients, compute: Compute, *, num_kept: int, drawn_on: torch.device
) -> tuple[int, int | None]:
    """Images per pass without gradient, and synthetic ones per pass with gradient (None for all).

    Args:
        gradients: of the iteration.
        compute: passes or memory that are stated.
        num_kept: real images whose features are in memory together.
        drawn_on: where the frequencies are drawn.

    Raises:
        InputError: if the stated memory is not enough for a pass of one image.
    """
    synthetic = gradients.synthetic
    device, classes = synthetic.stored.device, synthetic.classes
    memory = _memory_of(gradients, compute.memory_mb, num_kept, drawn_on)
    memory.check()
    return compute.chunk_size or pass_without_gradient(memory, device), (
        compute.gradient_chunk_size
        or pass_with_gradient(
            memory,
            total=classes.num_images,
            of_a_class=max(classes.images_of_class),
            device=device,
            by_classes=gradients.by_classes,
        )
    )


def halve_passes(synthetic: SyntheticBatch) -> bool:
    """Halve the passes after a failed allocation. False if they are single images already."""
    extract, images = synthetic.extract, synthetic.classes.num_images
    now = min(extract.gradient_chunk_size or images, images)
    if now == extract.chunk_size == 1:
        return False
    extract.gradient_chunk_size = max(now // 2, 1)
    extract.chunk_size = max(extract.chunk_size // 2, 1)
    return True


def _memory_of(gradients: StepGradients, stated: int | None, num_kept: int, drawn_on: torch.device) -> Memory:
    """What is known of the memory of an iteration, of which some MiB may be stated."""
    synthetic = gradients.synthetic
    stored, extract = synthetic.stored, synthetic.extract
    free = available_memory(stored.device)
    if free is None and stated is None:
        return Memory(1, None)
    with torch.no_grad():
        image = synthetic.views.formation.decode(stored[:1, :1]).flatten(0, 1)[:1]
    # On a GPU not of the compiled network: two more compilations would take longer than they save. It keeps more.
    kept = kept_bytes_per_image(extract if stored.device.type == "cpu" else extract.uncompiled(), image)
    if stated is None:
        return Memory(kept, free)
    return Memory(kept, free, stated * 2**20, _fixed_bytes(synthetic, gradients.objective, num_kept, drawn_on))


def _fixed_bytes(synthetic: SyntheticBatch, objective: Objective, num_kept: int, drawn_on: torch.device) -> int:
    """Memory of an iteration in any passes: images and their optimizer, frequencies, features that are kept."""
    rng = torch.Generator(device=drawn_on).manual_seed(0)
    with torch.no_grad():
        t = draw_once(objective, rng).frequencies
    numbers = IMAGE_COPIES * synthetic.stored.numel() + num_kept * synthetic.extract.num_features
    return FLOAT_BYTES * (numbers + (0 if t is None else FREQUENCY_COPIES * t.numel()))
