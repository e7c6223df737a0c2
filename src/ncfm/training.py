"""The one supervised loop: teachers and students are trained by the same code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ncfm._checks import NcfmFailure, check_at_least, check_fraction, check_known
from ncfm._files import release_pages
from ncfm._typing import Statistics
from ncfm.augment import SiameseAugment, cutmix
from ncfm.data.images import normalize, to_float, to_if_it_fits

OPTIMIZERS = ("sgd", "adamw")
SCHEDULES = ("one-cycle", "cosine", "step", "fifths", "constant")


@dataclass(frozen=True)
class TrainingRecipe:
    """How a classifier is trained. Every number that a comparison must hold fixed is here.

    Schedules multiply ``lr`` over training time u in [0, 1):
    ``one-cycle`` rises linearly to u = 0.2 and falls linearly to 0; ``cosine`` is (1 + cos(pi u)) / 2;
    ``step`` is 0.2 from u = 2/3 and 0.04 from u = 5/6; ``fifths`` halves at each fifth; ``constant`` is 1.
    """

    epochs: int
    optimizer: str  # "sgd" (Nesterov) or "adamw"
    lr: float
    batch_size: int
    schedule: str
    augment: str = "none"  # a SiameseAugment strategy, drawn anew for every image
    cutmix_probability: float = 0.0  # share of batches that are mixed
    momentum: float = 0.9  # sgd only
    weight_decay: float = 5e-4
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(self.epochs, 0, "epochs")
        check_at_least(self.batch_size, 1, "batch_size")
        check_known(self.optimizer, OPTIMIZERS, "optimizer")
        check_known(self.schedule, SCHEDULES, "schedule")
        for name in ("lr", "momentum", "weight_decay"):
            check_at_least(getattr(self, name), 0, name)
        for name in ("cutmix_probability", "label_smoothing"):
            check_fraction(getattr(self, name), name)
        SiameseAugment(self.augment)


def schedule_factor(schedule: str, progress: float) -> float:
    """The factor on the learning rate at ``progress`` u in [0, 1] of the training; see `TrainingRecipe`."""
    if schedule == "one-cycle":
        return progress / 0.2 if progress < 0.2 else (1 - progress) / 0.8
    if schedule == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    if schedule == "step":
        return 0.04 if progress >= 5 / 6 else 0.2 if progress >= 2 / 3 else 1.0
    if schedule == "fifths":
        return 0.5 ** min(int(progress * 5), 4)
    return 1.0


def make_optimizer(
    recipe: TrainingRecipe, network: nn.Module, total_steps: int
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """The recipe's optimizer on all parameters of the network, and its schedule (one call of step() a batch)."""
    optimizer: torch.optim.Optimizer
    if recipe.optimizer == "sgd":
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.momentum > 0,
        )
    else:
        optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    # The factor of step i is taken at its middle, so that neither the first nor the last step is lost to a zero.
    return optimizer, LambdaLR(
        optimizer, lambda i: schedule_factor(recipe.schedule, min((i + 0.5) / max(total_steps, 1), 1.0))
    )


def epoch_batches(num_images: int, batch_size: int, generator: Generator) -> Iterator[Tensor]:
    """Positions of the batches of one epoch, in random order.

    With more than one batch a shorter last one is dropped, so that every step has the same shape (compiled code) and
    no BatchNorm sees a batch of one; the order is new each epoch, so no image is left out for long.
    """
    order = torch.randperm(num_images, generator=generator)
    batches = order.split(batch_size)
    yield from batches[:-1] if len(batches) > 1 and len(batches[-1]) < batch_size else batches


def steps_per_epoch(num_images: int, batch_size: int) -> int:
    """Number of batches that `epoch_batches` yields."""
    return max(num_images // batch_size, 1)


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
    after_epoch: Callable[[int], None] | None = None,
) -> None:
    """Train ``network`` in place by cross-entropy.

    Args:
        network: the classifier; its device is where training happens.
        images: (n, c, h, w) uint8, or float in [0, 1]; on any device.
        labels: (n,) int64.
        recipe: what to do.
        statistics: normalisation of the images.
        generator: order, augmentation and CutMix (drawn on the CPU: the same on every device).
        forward: a compiled form of ``network``; the network itself if None.
        precision: of the forward pass (autocast); parameters and updates stay in float32.
        after_epoch: called with the number of finished epochs 1 .. epochs.

    Raises:
        NcfmFailure: if the loss is not finite, with the epoch where that happened.
    """
    forward = network if forward is None else forward
    device = next(network.parameters()).device
    images, labels = to_if_it_fits(images, device), labels.to(device)
    augment = SiameseAugment(recipe.augment)
    optimizer, schedule = make_optimizer(
        recipe, network, recipe.epochs * steps_per_epoch(len(images), recipe.batch_size)
    )
    for epoch in range(1, recipe.epochs + 1):
        network.train()
        loss = torch.zeros(())
        for batch in epoch_batches(len(images), recipe.batch_size, generator):
            chosen = images[batch.to(images.device, non_blocking=True)].to(device, non_blocking=True)
            x, y = network_input(chosen, statistics), labels[batch.to(device, non_blocking=True)]
            release_pages()
            x = augment.apply_each(x, generator)
            loss = _loss(forward, x, y, recipe, generator, precision)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not math.isfinite(loss.item()):  # once an epoch: asking earlier would wait for the device
            raise NcfmFailure(
                f"The training loss became {loss.item()} in epoch {epoch} of {recipe.epochs}; "
                f"lower the learning rate (now {recipe.lr}) or use float32."
            )
        if after_epoch is not None:
            after_epoch(epoch)


def network_input(images: Tensor, statistics: Statistics) -> Tensor:
    """Stored or float images as a network takes them: normalised floats."""
    return normalize(to_float(images) if images.dtype == torch.uint8 else images, statistics)


def _loss(
    forward: Callable[..., Any],
    x: Tensor,
    y: Tensor,
    recipe: TrainingRecipe,
    generator: Generator,
    precision: torch.dtype,
) -> Tensor:
    """Cross-entropy of one batch, mixed with probability ``cutmix_probability``."""
    x, pasted, share = maybe_cutmix(x, y, recipe, generator)
    with torch.autocast(x.device.type, dtype=precision, enabled=precision != torch.float32):
        logits = forward(channels_last(x))
    return mixed_cross_entropy(logits.float(), y, pasted, share, recipe)


def maybe_cutmix(x: Tensor, y: Tensor, recipe: TrainingRecipe, generator: Generator) -> tuple[Tensor, Tensor, float]:
    """The batch, mixed or not: images, labels of what was pasted, and the share of the own labels (1: not mixed)."""
    if float(torch.rand((), generator=generator)) < recipe.cutmix_probability:
        return cutmix(x, y, generator)
    return x, y, 1.0


def mixed_cross_entropy(
    logits: Tensor, labels: Tensor, pasted: Tensor, share: float | Tensor, recipe: TrainingRecipe
) -> Tensor:
    """``share * CE(labels) + (1 - share) * CE(pasted)``, mean over the last axis of labels (..., n).

    Logits (..., n, C); leading axes are groups with a loss and a share of their own.
    """

    def cross_entropy(targets: Tensor) -> Tensor:
        flat = F.cross_entropy(
            logits.flatten(0, -2), targets.flatten(), label_smoothing=recipe.label_smoothing, reduction="none"
        )
        return flat.view(targets.shape).mean(-1)

    if not isinstance(share, Tensor) and share == 1:
        return cross_entropy(labels)
    return share * cross_entropy(labels) + (1 - share) * cross_entropy(pasted)


def channels_last(images: Tensor) -> Tensor:
    """The same images with channels innermost in memory, the layout in which convolutions are fastest."""
    return images.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def predict(
    network: nn.Module,
    images: Tensor,
    *,
    statistics: Statistics,
    forward: Callable[..., Any] | None = None,
    batch_size: int = 256,
) -> Tensor:
    """Logits (n, C) in float32 on the CPU, in evaluation mode; the mode is put back afterwards."""
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
    """Share of images whose largest logit is their class, a fraction in [0, 1]."""
    logits = predict(network, images, statistics=statistics, forward=forward, batch_size=batch_size)
    return float((logits.argmax(1) == labels.cpu()).double().mean())
