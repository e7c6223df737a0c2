"""Training of several networks in one stacked pass, where a loop launches every operator once per network."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.accelerator import autocast, to_device, to_host
from ncfm._utils.checks import RunError
from ncfm._utils.files import release_pages
from ncfm._utils.types import Statistics
from ncfm.data.augment import AugmentParameters, SiameseAugment
from ncfm.data.cutmix import cutmix_each
from ncfm.data.image_set import to_if_it_fits
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.fit import epoch_batches, network_input, steps_per_epoch
from ncfm.training.recipe import TrainingRecipe, make_optimizer
from ncfm.training.stack import Stack
from ncfm.training.targets import make_targets, maybe_pasting, mixed_loss


def fit_side_by_side(
    networks: Sequence[nn.Module],
    images: Tensor,
    labels: Tensor,
    *,
    recipe: TrainingRecipe,
    statistics: Statistics,
    generators: Sequence[Generator],
    precision: torch.dtype = torch.float32,
    soft: StudentTargets | None = None,
    compile_networks: bool = False,
    after_epoch: Callable[[int], None] | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> None:
    """Train networks of one architecture in place, each as `ncfm.training.fit.fit` would, in stacked passes.

    Weights, buffers and optimizer state are stacked, see `Stack`. Every network has its own generator, with the same
    draws as in `fit`. The result therefore equals that of training one by one, up to rounding.

    Args:
        networks: the S networks, on one device.
        images, labels, recipe, statistics, precision, soft: as in `fit`.
        generators: one per network.
        compile_networks: compile the stacked pass.
        after_epoch: called with the number of finished epochs; ``networks`` then have the trained weights. An exception
            of it ends the training.
        checkpoint: saves an interrupted training of the same networks, and resumes it.

    Raises:
        RunError: if a loss is not finite; the message has the networks and the epoch.
    """
    device = next(networks[0].parameters()).device
    images, targets = to_if_it_fits(images, device), make_targets(labels, soft, device)
    stack = Stack(networks, compile_networks=compile_networks)
    optimizer, schedule = make_optimizer(recipe, stack, recipe.epochs * steps_per_epoch(len(images), recipe))
    augment = SiameseAugment(recipe.augment)
    state = (stack, optimizer, schedule, generators)
    finished = 0 if checkpoint is None else checkpoint.resume(*state)
    for epoch in range(finished + 1, recipe.epochs + 1):
        losses = torch.zeros(len(networks))
        orders = (epoch_batches(len(images), recipe.batch_size, g, keep_last=recipe.keep_last) for g in generators)
        for batch in zip(*orders, strict=True):  # one batch per network
            positions = torch.stack(batch)  # (S, n)
            chosen = to_device(images[to_device(positions, images.device)], device)
            release_pages()
            x, order, share = _batches(network_input(chosen, statistics), recipe, augment, generators)
            with autocast(device, precision):
                logits = stack(x)
            at = targets.at(to_device(positions, device)).shown(x)
            losses = mixed_loss(logits.float(), at, order, share, recipe)
            optimizer.zero_grad(set_to_none=True)
            losses.sum().backward()
            optimizer.step()
            schedule.step()
        _check_finite(losses, epoch, recipe)
        stack.unstack()
        try:
            if after_epoch is not None:
                after_epoch(epoch)
        except BaseException:
            if checkpoint is not None:
                checkpoint.save(epoch, *state)
            raise
        if checkpoint is not None and checkpoint.is_due and epoch < recipe.epochs:
            checkpoint.save(epoch, *state)
    stack.unstack()
    if checkpoint is not None:
        checkpoint.finish()


def _check_finite(losses: Tensor, epoch: int, recipe: TrainingRecipe) -> None:
    """Raise RunError naming the networks whose loss (S,) is not finite. Waits for the device, once per epoch."""
    failed = [i for i, loss in enumerate(to_host(losses).tolist()) if not math.isfinite(loss)]
    if failed:
        raise RunError(
            f"The training loss of networks {failed} is not finite in epoch {epoch} of {recipe.epochs}; "
            f"lower the learning rate (now {recipe.lr}) or use float32."
        )


def _batches(
    x: Tensor, recipe: TrainingRecipe, augment: SiameseAugment, generators: Sequence[Generator]
) -> tuple[Tensor, Tensor, Tensor]:
    """Augmented and mixed batches (S, n, c, h, w), the orders of the pasted images (S, n) and their shares (S,).

    Each generator draws in the order of `fit`: first the augmentation of its batch, then whether and how to mix.
    """
    networks, size, side = *x.shape[:2], x.shape[-1]
    draws, pastings = [], []
    for g in generators:
        draws += [augment.draw(size, side, g)] if augment.operations else []
        pastings.append(maybe_pasting(size, side, recipe, g))
    if draws:
        x = augment.apply(x.flatten(0, 1)[:, None], AugmentParameters.cat(draws))[:, 0].unflatten(0, (networks, size))
    return cutmix_each(x, pastings)
