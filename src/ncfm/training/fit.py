"""The supervised training loop of teachers, experts and students."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Generator, Tensor, nn

from ncfm._utils.accelerator import autocast, to_device, to_host
from ncfm._utils.checks import RunError
from ncfm._utils.files import release_pages
from ncfm._utils.stages import stage
from ncfm._utils.types import Statistics
from ncfm.data.augment import SiameseAugment
from ncfm.data.image_set import to_if_it_fits
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.networks.layout import channels_last
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.recipe import TrainingRecipe, make_optimizer
from ncfm.training.targets import make_targets, maybe_cutmix, mixed_loss


def epoch_batches(
    num_images: int, batch_size: int, generator: Generator, *, keep_last: bool = False
) -> Iterator[Tensor]:
    """Positions of the batches of one epoch, in random order.

    With more than one batch a shorter last one is dropped unless ``keep_last``: every step then has the same shape (for
    compiled code). The order is new in each epoch, so no image is left out for long.
    """
    order = torch.randperm(num_images, generator=generator)
    batches = order.split(batch_size)
    drop = not keep_last and len(batches) > 1 and len(batches[-1]) < batch_size
    yield from batches[:-1] if drop else batches


def steps_per_epoch(num_images: int, recipe: TrainingRecipe) -> int:
    """Number of batches that `epoch_batches` yields."""
    whole, rest = divmod(num_images, recipe.batch_size)
    return max(whole + (recipe.keep_last and rest > 0), 1)


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    recipe: TrainingRecipe,
    statistics: Statistics,
    generator: Generator,
    forward: Callable[..., Any] | None = None,
    precision: torch.dtype = torch.float32,
    soft: StudentTargets | None = None,
    after_epoch: Callable[[int], None] | None = None,
    checkpoint: TrainingCheckpoint | None = None,
) -> None:
    """Train ``network`` in place by cross-entropy.

    A batch of one image has no statistics: BatchNorm layers then use their running ones, which do not change.

    Args:
        network: the classifier, trained on its device.
        images: (n, c, h, w) uint8, or float in [0, 1]; on any device.
        labels: (n,) int64.
        recipe: optimizer, schedule and augmentation.
        statistics: normalisation of the images.
        generator: draws order, augmentation and CutMix, on the CPU: the same on every device.
        forward: a compiled form of ``network``; the network itself if None.
        precision: of the forward pass (autocast); parameters and updates stay in float32.
        soft: targets in addition to the hard labels or in their place: soft labels of the images, or teachers that
            label every augmented and mixed batch (in float32, without gradient).
        after_epoch: called with the number of finished epochs 1 .. epochs; an exception of it ends the training.
        checkpoint: saves an interrupted training, and resumes it.

    Raises:
        RunError: if the loss is not finite; the message has the epoch.
    """
    forward = network if forward is None else forward
    device = next(network.parameters()).device
    images, targets = to_if_it_fits(images, device), make_targets(labels, soft, device)
    augment = SiameseAugment(recipe.augment)
    optimizer, schedule = make_optimizer(recipe, network, recipe.epochs * steps_per_epoch(len(images), recipe))
    finished = 0 if checkpoint is None else checkpoint.resume(network, optimizer, schedule, generator)
    for epoch in range(finished + 1, recipe.epochs + 1):
        loss = torch.zeros(())
        for batch in epoch_batches(len(images), recipe.batch_size, generator, keep_last=recipe.keep_last):
            training_mode(network, batch_size=len(batch))
            with stage("gather"):
                chosen = to_device(images[to_device(batch, images.device)], device)
                release_pages()
            with stage("augmentation"):
                x = augment.apply_each(network_input(chosen, statistics), generator)
                x, order, share = maybe_cutmix(x, recipe, generator)
            with stage("forward"), autocast(device, precision):
                logits = forward(channels_last(x))
            with stage("loss"):
                at = targets.at(to_device(batch, device)).shown(x)
                loss = mixed_loss(logits.float(), at, order, share, recipe)
            with stage("backward"):
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
            with stage("optimizer"):
                optimizer.step()
                schedule.step()
        _check_finite(loss, epoch, recipe)
        state = (epoch, network, optimizer, schedule, generator)
        try:
            if after_epoch is not None:
                after_epoch(epoch)
        except BaseException:
            if checkpoint is not None:
                checkpoint.save(*state)
            raise
        if checkpoint is not None and checkpoint.is_due and epoch < recipe.epochs:
            checkpoint.save(*state)
    if checkpoint is not None:
        checkpoint.finish()


def _check_finite(loss: Tensor, epoch: int, recipe: TrainingRecipe) -> None:
    """Raise RunError for a loss () that is not finite. Waits for the device, once per epoch."""
    value = float(to_host(loss))
    if not math.isfinite(value):
        raise RunError(
            f"The training loss became {value} in epoch {epoch} of {recipe.epochs}; "
            f"lower the learning rate (now {recipe.lr}) or use float32."
        )


def network_input(images: Tensor, statistics: Statistics) -> Tensor:
    """Stored or float images as the input of a network: normalised floats."""
    return normalize(to_float(images) if images.dtype == torch.uint8 else images, statistics)


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The BatchNorm layers of a network that keep running statistics."""
    return [
        m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    ]


def training_mode(network: nn.Module, *, batch_size: int) -> None:
    """Set training mode; for batches of one image BatchNorm layers stay in evaluation mode."""
    network.train()
    if batch_size == 1:
        for layer in batch_norms(network):
            layer.eval()


@torch.no_grad()
def recompute_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of BatchNorm layers to the average over ``batches`` of network inputs.

    Blended or updated weights give other activations than those behind the running statistics. Nothing else changes.
    Without BatchNorm layers, or without a batch of at least two images, nothing changes at all.

    Reference:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018 (section 3.2).
    """
    layers = batch_norms(network)
    batches = [batch for batch in batches if len(batch) > 1] if layers else []
    if not batches:
        return
    modes, momenta = network.training, [layer.momentum for layer in layers]
    for layer in layers:
        layer.reset_running_stats()
    network.train()
    for number, batch in enumerate(batches, 1):
        for layer in layers:
            layer.momentum = 1 / number  # the plain average; for None PyTorch reads the number from the device
        network(channels_last(batch))
    network.train(modes)
    for layer, momentum in zip(layers, momenta, strict=True):
        layer.momentum = momentum


@torch.no_grad()
def predict(
    network: nn.Module,
    images: Tensor,
    *,
    statistics: Statistics,
    forward: Callable[..., Any] | None = None,
    batch_size: int = 256,
) -> Tensor:
    """Logits (n, C) in float32 on the CPU, in evaluation mode; the mode is restored afterwards."""
    forward = network if forward is None else forward
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    logits = []
    for part in images.split(batch_size):
        logits.append(forward(channels_last(network_input(part.to(device), statistics))).float().cpu())
        release_pages()
    network.train(training)
    return torch.cat(logits)


def accuracy(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    statistics: Statistics,
    forward: Callable[..., Any] | None = None,
    batch_size: int = 256,
) -> float:
    """Fraction in [0, 1] of the images whose largest logit is that of their class."""
    logits = predict(network, images, statistics=statistics, forward=forward, batch_size=batch_size)
    return float((logits.argmax(1) == labels.cpu()).double().mean())
