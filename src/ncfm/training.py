"""The one supervised loop: teachers and students are trained by the same code."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from ncfm._utils.checks import NcfmFailure, check_at_least, check_fraction, check_known
from ncfm._utils.files import release_pages
from ncfm._utils.types import Statistics
from ncfm.data.augment import SiameseAugment, cutmix
from ncfm.data.image_set import normalize, to_float, to_if_it_fits
from ncfm.networks.layout import channels_last
from ncfm.soft_labels import StudentTargets, TeacherTargets, distillation_loss
from ncfm.unfinished import Unfinished

OPTIMIZERS = ("sgd", "heavy-ball", "adamw")
SCHEDULES = ("one-cycle", "cosine", "step", "half", "fifths", "constant")


@dataclass(frozen=True)
class TrainingRecipe:
    """How a classifier is trained. Every number that a comparison must hold fixed is here.

    Schedules multiply ``lr`` over training time u in [0, 1):
    ``one-cycle`` rises linearly to u = 0.2 and falls linearly to 0; ``cosine`` is (1 + cos(pi u)) / 2;
    ``step`` is 0.2 from u = 2/3 and 0.04 from u = 5/6; ``half`` is 0.1 from u = 1/2; ``fifths`` halves at each
    fifth; ``constant`` is 1.
    """

    epochs: int
    optimizer: str  # "sgd" (Nesterov's momentum), "heavy-ball" (sgd with the classic one) or "adamw"
    lr: float
    batch_size: int
    schedule: str
    augment: str = "none"  # a SiameseAugment strategy, drawn anew for every image
    cutmix_probability: float = 0.0  # share of batches that are mixed
    momentum: float = 0.9  # not of adamw
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
    if schedule == "half":
        return 0.1 if progress >= 0.5 else 1.0
    if schedule == "fifths":
        return 0.5 ** min(int(progress * 5), 4)
    return 1.0


def make_optimizer(
    recipe: TrainingRecipe, network: nn.Module, total_steps: int
) -> tuple[torch.optim.Optimizer, LambdaLR]:
    """The recipe's optimizer on all parameters of the network, and its schedule (one call of step() a batch)."""
    optimizer: torch.optim.Optimizer
    if recipe.optimizer in ("sgd", "heavy-ball"):
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            weight_decay=recipe.weight_decay,
            nesterov=recipe.optimizer == "sgd" and recipe.momentum > 0,
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
    soft: StudentTargets | None = None,
    after_epoch: Callable[[int], None] | None = None,
    unfinished: Unfinished | None = None,
) -> None:
    """Train ``network`` in place by cross-entropy.

    A batch of one image has no statistics: BatchNorm layers then use (and keep) their running ones.

    Args:
        network: the classifier; its device is where training happens.
        images: (n, c, h, w) uint8, or float in [0, 1]; on any device.
        labels: (n,) int64.
        recipe: what to do.
        statistics: normalisation of the images.
        generator: order, augmentation and CutMix (drawn on the CPU: the same on every device).
        forward: a compiled form of ``network``; the network itself if None.
        precision: of the forward pass (autocast); parameters and updates stay in float32.
        soft: to learn from beside the hard labels or in their place: soft labels of the images, or teachers who are
            asked of every batch as the network sees it, augmented and mixed (in float32, without gradient).
        after_epoch: called with the number of finished epochs 1 .. epochs; what it raises ends the training.
        unfinished: where a training that is cut is kept, and taken up again.

    Raises:
        NcfmFailure: if the loss is not finite, with the epoch where that happened.
    """
    forward = network if forward is None else forward
    device = next(network.parameters()).device
    images, targets = to_if_it_fits(images, device), make_targets(labels, soft, device)
    augment = SiameseAugment(recipe.augment)
    optimizer, schedule = make_optimizer(
        recipe, network, recipe.epochs * steps_per_epoch(len(images), recipe.batch_size)
    )
    begun = 0 if unfinished is None else unfinished.resume(network, optimizer, schedule, generator)
    for epoch in range(begun + 1, recipe.epochs + 1):
        training_mode(network, batch_size=min(len(images), recipe.batch_size))
        loss = torch.zeros(())
        for batch in epoch_batches(len(images), recipe.batch_size, generator):
            chosen = images[batch.to(images.device, non_blocking=True)].to(device, non_blocking=True)
            release_pages()
            x = augment.apply_each(network_input(chosen, statistics), generator)
            x, order, share = maybe_cutmix(x, recipe, generator)
            with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
                logits = forward(channels_last(x))
            at = targets.at(batch.to(device, non_blocking=True)).shown(x)
            loss = mixed_loss(logits.float(), at, order, share, recipe)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
        if not math.isfinite(loss.item()):  # once an epoch: asking earlier would wait for the device
            raise NcfmFailure(
                f"The training loss became {loss.item()} in epoch {epoch} of {recipe.epochs}; "
                f"lower the learning rate (now {recipe.lr}) or use float32."
            )
        state = (epoch, network, optimizer, schedule, generator)
        try:
            if after_epoch is not None:
                after_epoch(epoch)
        except BaseException:
            if unfinished is not None:
                unfinished.save(*state)
            raise
        if unfinished is not None and unfinished.is_due and epoch < recipe.epochs:
            unfinished.save(*state)
    if unfinished is not None:
        unfinished.finish()


def network_input(images: Tensor, statistics: Statistics) -> Tensor:
    """Stored or float images as a network takes them: normalised floats."""
    return normalize(to_float(images) if images.dtype == torch.uint8 else images, statistics)


class Targets(NamedTuple):
    """What a classifier is to say of images (..., n); leading axes are students."""

    labels: Tensor  # (..., n) int64
    soft: Tensor | None  # (..., n, C) probabilities at the temperature
    weight: float  # of the soft loss
    temperature: float
    teachers: TeacherTargets | None = None  # who say ``soft`` anew of every batch, mixed as it is

    def at(self, positions: Tensor) -> Targets:
        """Those of the images at some positions."""
        return self._replace(labels=self.labels[positions], soft=None if self.soft is None else self.soft[positions])

    def shown(self, inputs: Tensor) -> Targets:
        """Those of the same images shown as ``inputs`` (..., n, c, h, w): what the teachers say of them, if any do."""
        return self if self.teachers is None else self._replace(soft=self.teachers.probabilities(inputs))

    def pasted(self, order: Tensor) -> Targets:
        """Those of what was pasted into each image, a part of image ``order`` (..., n)."""
        soft = self.soft
        if soft is not None and self.teachers is None:  # teachers have seen both parts
            soft = soft.take_along_dim(order[..., None], dim=-2)
        return self._replace(labels=self.labels.gather(-1, order), soft=soft)

    def losses(self, logits: Tensor, recipe: TrainingRecipe) -> Tensor:
        """For each image, (..., n), of logits (..., n, C)."""
        if self.soft is not None and self.weight == 1:
            return distillation_loss(logits, self.soft, self.temperature)
        hard = F.cross_entropy(
            logits.flatten(0, -2), self.labels.flatten(), label_smoothing=recipe.label_smoothing, reduction="none"
        ).view(self.labels.shape)
        if self.soft is None:
            return hard
        return (1 - self.weight) * hard + self.weight * distillation_loss(logits, self.soft, self.temperature)


def make_targets(labels: Tensor, soft: StudentTargets | None, device: torch.device) -> Targets:
    """Labels (n,), and soft labels if there are any, on the device."""
    if soft is None:
        return Targets(labels.to(device), None, 0.0, 1.0)
    if isinstance(soft, TeacherTargets):
        return Targets(labels.to(device), None, soft.weight, soft.temperature, soft)
    return Targets(labels.to(device), soft.probabilities().to(device), soft.weight, soft.temperature)


def maybe_cutmix(x: Tensor, recipe: TrainingRecipe, generator: Generator) -> tuple[Tensor, Tensor | None, float]:
    """The batch, mixed or not: images, the order of what was pasted (None: nothing), and the share of their own."""
    if float(torch.rand((), generator=generator)) < recipe.cutmix_probability:
        return cutmix(x, generator)
    return x, None, 1.0


def mixed_loss(
    logits: Tensor, targets: Targets, order: Tensor | None, share: float | Tensor, recipe: TrainingRecipe
) -> Tensor:
    """``share * loss(targets) + (1 - share) * loss(pasted)``, mean over images: () or, of students, (S,).

    Args:
        logits: (..., n, C).
        targets: of the n images.
        order: (..., n) whose part was pasted into each image; None if nothing was.
        share: of the area that is the images' own, one or (S,).
        recipe: for the label smoothing.
    """
    own = targets.losses(logits, recipe).mean(-1)
    if order is None:
        return own
    return share * own + (1 - share) * targets.pasted(order).losses(logits, recipe).mean(-1)


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The BatchNorm layers of a network that keep running statistics."""
    return [
        m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    ]


def training_mode(network: nn.Module, *, batch_size: int) -> None:
    """Training mode; for batches of one image BatchNorm layers stay in evaluation mode, where one is enough."""
    network.train()
    if batch_size == 1:
        for layer in batch_norms(network):
            layer.eval()


@torch.no_grad()
def recompute_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of BatchNorm layers to the average over ``batches`` of network inputs.

    Weights that were blended or have just moved give other activations than those the running statistics were
    collected from. Nothing else changes; without BatchNorm layers, or batches of at least two images, nothing does.

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
        layer.momentum = None  # PyTorch's word for the plain average
    network.train()
    for batch in batches:
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
