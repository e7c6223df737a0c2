"""Trajectory matching: a student trained on the set shall reach the weights of an expert trained on the real data.

`ncfm.distillation.unrolling` has the mathematics of one iteration. This module draws its inputs and updates the
players.

References:
    Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (MTT), CVPR 2022.
    Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching" (DATM), ICLR 2024.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor
from torch.optim import Optimizer

from ncfm._utils.accelerator import to_device
from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.progress import counted
from ncfm._utils.seeding import Streams
from ncfm.data.augment import AugmentParameters, SiameseAugment
from ncfm.data.image_set import ImageSet, normalizer, to_float
from ncfm.distillation.budget import Budget
from ncfm.distillation.class_sizes import ClassSizes, EqualSizes, UnequalSizes
from ncfm.distillation.control import RunControl
from ncfm.distillation.options import DSA, Trajectories
from ncfm.distillation.players import Player
from ncfm.distillation.result import DistillResult
from ncfm.distillation.runner import Run
from ncfm.distillation.unrolling import Gap, Loss, replayed, unrolled
from ncfm.networks.layout import channels_last
from ncfm.synthetic.counts import Ipc, as_counts, blackened, in_use, width_of
from ncfm.synthetic.formation import Formation, stitch
from ncfm.synthetic.initialization import check_enough, start_images
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.experts import ExpertPool
from ncfm.training.fit import predict

DIFFERENTIATIONS: dict[str, Callable[..., Gap]] = {
    "unrolled": unrolled,
    "replayed": replayed,
    "tesla": partial(replayed, curvature=False),
}
"""How an iteration's gradient is taken, see `ncfm.distillation.unrolling`."""


@dataclass(frozen=True)
class StartRange:
    """Epochs of an expert from which students start: low .. high, where high may grow from easy to hard."""

    low: int
    high: int
    first_high: int | None = None  # high at the beginning; None: from the beginning as it is at the end
    growth: int = 0  # iterations until high is reached

    def __post_init__(self) -> None:
        check_at_least(self.low, 0, "start_low")
        first = self.high if self.first_high is None else self.first_high
        if not self.low <= first <= self.high:
            raise InputError(
                f"Expected start_low <= start_first_high <= start_high, got {self.low}, {first}, {self.high}."
            )

    def draw(self, iteration: int, generator: Generator) -> int:
        """An epoch, uniform in the range of this iteration (from 0)."""
        first = self.high if self.first_high is None else self.first_high
        share = min(iteration / self.growth, 1.0) if self.growth else 1.0
        high = first + int(share * (self.high - first))
        return int(torch.randint(self.low, high + 1, (), generator=generator))


def check_epochs(start: StartRange, matched_epochs: int, epochs: int) -> None:
    """Raise NcfmError if a student's target lies beyond what experts of so many epochs have."""
    if start.high + matched_epochs > epochs:
        raise InputError(
            f"Students start up to epoch {start.high} and are compared {matched_epochs} later, but experts have "
            f"{counted(epochs, 'epoch')}; raise trajectory.epochs or lower trajectory.start_high."
        )


class TrajectoryRecord(NamedTuple):
    """The measurements of an iteration, as tensors."""

    gap: Tensor  # () normalised squared distance of the student to the expert; 1 at the start
    step_size: Tensor  # () of the student
    start: Tensor  # () epoch of the expert that the student started from


class TrajectoryStep:
    """One iteration of trajectory matching; calling the object runs it.

    A student starts from an expert's weights after some epoch and trains on the set. Its weights are compared with
    those of the expert some epochs later. Images, labels and step size descend. Each student step has its own batch
    and augmentation (one draw for all images).

    Args:
        experts: the trajectories.
        images: the player whose tensor is (C, ipc, c, h, w) in [0, 1].
        labels: the player whose tensor is (M, C), logits of the soft labels of the decoded images; None for the
            classes themselves.
        step_size: the player whose tensor is the logarithm of the student's step size, ().
        streams: named random generators.
        augment: DSA strategy of the student's batches.
        start: where students start.
        formation: of the stored images.
        options: how students train.
        counts: stored images of each class, if they are unequal.

    Raises:
        NcfmError: if a target lies beyond the experts' last epoch.
    """

    def __init__(
        self,
        experts: ExpertPool,
        images: Player,
        labels: Player | None,
        step_size: Player,
        *,
        streams: Streams,
        augment: str,
        start: StartRange,
        formation: Formation,
        options: Trajectories,
        counts: tuple[int, ...] | None = None,
    ) -> None:
        check_epochs(start, options.matched_epochs, experts.num_epochs)
        self.experts, self.images, self.labels, self.step_size = experts, images, labels, step_size
        self.streams, self.augment, self.start = streams, SiameseAugment(augment), start
        self.formation, self.options = formation, options
        self.differentiation = options.differentiation
        stored = images.tensors[0]
        self.normalize = normalizer(experts.statistics, stored.device)
        used = formation.decoded_in_use(in_use(counts or (stored.shape[1],) * len(stored), stored.shape[1]))
        sizes: ClassSizes = EqualSizes(used.shape[1]) if counts is None else UnequalSizes(used, stored.device)
        self.sizes, self.classes = sizes, sizes.labels(torch.arange(len(stored), device=stored.device))  # (M,)
        self.batch_size = min(options.student_batch_size or len(self.classes), len(self.classes))
        self._iteration = torch.zeros((), dtype=torch.int64)  # finished; the range of starts grows with it

    @property
    def images_per_pass(self) -> int:
        """Synthetic images per pass with gradient."""
        return self.batch_size

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that iterations change."""
        named = {"images": self.images.tensors[0], "step_size": self.step_size.tensors[0], "played": self._iteration}
        return named if self.labels is None else named | {"labels": self.labels.tensors[0]}

    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizers of the players."""
        named = {"images_optimizer": self.images.optimizer, "step_size_optimizer": self.step_size.optimizer}
        return named if self.labels is None else named | {"labels_optimizer": self.labels.optimizer}

    def halve_chunks(self) -> bool:
        """Replay unrolled steps that do not fit; the gradient is the same. Smaller batches would be another method."""
        if self.differentiation != "unrolled":
            return False
        self.differentiation = "replayed"
        return True

    @property
    def can_be_repeated(self) -> bool:
        """Always: nothing is updated before all gradients are known."""
        return True

    def diagnose(self) -> None:
        """None: there are no frequencies."""

    def spectrum(self) -> None:
        """None: there are no frequencies."""

    def __call__(self) -> TrajectoryRecord:
        """Run one iteration: draw expert and start, train, compare, update."""
        expert = int(torch.randint(len(self.experts), (), generator=self.streams["experts"]))
        epoch = self.start.draw(int(self._iteration), self.streams["experts"])
        stored, step_size = self.images.tensors[0], self.step_size.tensors[0].detach().exp()
        decoded = self.formation.decode(stored)  # (C, m, c, h, w)
        training = self.sizes.images(self.normalize(decoded))
        labels = stored.new_zeros(len(self.classes), len(stored)) if self.labels is None else self.labels.tensors[0]
        gap = DIFFERENTIATIONS[self.differentiation](
            self.student_losses(),
            self.experts.state(expert, epoch),
            self.experts.state(expert, epoch + self.options.matched_epochs),
            training,
            labels,
            step_size,
        )
        self.images.update(torch.autograd.grad(training, self.images.tensors, grad_outputs=gap.images))
        if self.labels is not None:
            self.labels.update([gap.labels])
        self.step_size.update([gap.step_size * step_size])  # the chain rule of the logarithm
        with torch.no_grad():
            stored.clamp_(0, 1)
        self._iteration += 1
        return TrajectoryRecord(gap.value, step_size, gap.value.new_full((), float(epoch)))

    def student_losses(self) -> list[Loss]:
        """The loss of each step of one student with all random draws made, so that steps can be replayed."""
        rng, total, device = self.streams["students"], len(self.classes), self.classes.device
        losses: list[Loss] = []
        queue = torch.empty(0, dtype=torch.int64)
        for _ in range(self.options.student_steps):
            if len(queue) < self.batch_size:  # a new pass over the set, as in training
                queue = torch.randperm(total, generator=rng)
            at, queue = queue[: self.batch_size], queue[self.batch_size :]
            draw = self.augment.draw(1, self.images.tensors[0].shape[-1], self.streams["augment"])
            losses.append(partial(self.student_loss, to_device(at, device), draw.to(device)))
        return losses

    def student_loss(
        self, at: Tensor, draw: AugmentParameters, weights: Tensor, images: Tensor, labels: Tensor
    ) -> Tensor:
        """Cross-entropy () of the images at the positions ``at``, augmented by a draw."""
        x = self.augment.apply(images[at][None], draw)[0]
        logits = self.experts.logits(weights, channels_last(x))
        return F.cross_entropy(logits, self.classes[at] if self.labels is None else labels[at].softmax(-1))


def distill_trajectories(
    real: ImageSet,
    experts: ExpertPool,
    *,
    ipc: Ipc,
    start: StartRange,
    init: str = "correct",
    label_precision: str | None = "float16",
    augment: str = DSA,
    formation: Formation | None = None,
    options: Trajectories | None = None,
    budget: Budget | None = None,
    control: RunControl | None = None,
    seed: int = 0,
) -> DistillResult:
    """Distil a real set by matching the trajectories of experts.

    MTT has hard labels and a fixed range of starts; DATM learns soft labels, begins with images that an expert
    classifies correctly and its logits for them, and lets the range of starts grow. Where the papers take plain
    gradient steps with sizes tuned per table cell, all players here use Adam, and the student's step size is learned
    by its logarithm: neither depends on the scale of the loss.

    Args:
        real: the real set; only its training split is used.
        experts: the trajectories; their device is where the work is done.
        ipc: stored images per class, or of each class.
        start: epochs of the experts from which students start.
        init: "correct" - as "real" or, with a factor, "mosaic", but of images that the first expert, as it ended,
            classifies correctly; or noise, real, mosaic as in `start_images`.
        label_precision: of the learned soft labels as they are stored, see `SoftLabels.of`; None: hard labels, nothing
            is learned.
        augment: DSA strategy of the student's batches.
        formation: how many training images a stored image holds; default: one, as in the papers.
        options: how students train, and what they are compared with.
        budget: iterations or seconds, learning rate of the images, early stopping.
        control: folder, checkpoints, logging.
        seed: of every random stream.

    Raises:
        NcfmError: for settings that do not fit the data, the experts or each other.
        Interrupted: on Ctrl-C or SIGTERM, after the running iteration was finished and its state saved.
    """
    formation, options = formation or Formation(factor=1), options or Trajectories()
    budget, control = budget or Budget(), control or RunControl()
    formation.check_image_size(real.image_size)
    streams = Streams(seed)
    facts = (real.class_names, real.statistics, formation.factor, formation.mode, formation.bound)
    pixels = _start(real, experts, ipc, formation.factor, init, streams["init"])
    begun = SyntheticSet(pixels, *facts, counts=None if isinstance(ipc, int) else ipc)
    stored = begun.images.to(experts.device, copy=True).detach().requires_grad_()
    images = Player([stored], budget.optimizer(stored))
    labels = None
    if label_precision is not None:
        labels = _adam(_logits_of_expert(experts, begun.decoded().images).to(experts.device), options.label_lr)
    step = TrajectoryStep(
        experts,
        images,
        labels,
        _adam(torch.tensor(math.log(options.step_size), device=experts.device), options.step_size_lr),
        streams=streams,
        augment=augment,
        start=start,
        formation=formation,
        options=options,
        counts=begun.counts,
    )
    run = Run(step, control, late=experts.device.type == "cuda")
    run.play(budget)
    synthetic = begun.with_images(images.tensors[0].detach().cpu().clone())
    if labels is not None and label_precision is not None:
        log_probabilities = F.log_softmax(labels.tensors[0].detach().cpu(), dim=1)
        synthetic = replace(synthetic, soft_labels=SoftLabels.of(log_probabilities, precision=label_precision))
    return run.result(synthetic, begun)


def _adam(tensor: Tensor, lr: float) -> Player:
    """A player of one tensor, updated by Adam."""
    tensor = tensor.detach().requires_grad_()
    return Player([tensor], torch.optim.Adam([tensor], lr=lr))


def _logits_of_expert(experts: ExpertPool, images: Tensor) -> Tensor:
    """Logits (n, C) of the first trained expert for images (n, c, h, w) in [0, 1], on the CPU."""
    weights = experts.weights(experts.state(0, experts.num_epochs))
    experts.network.load_state_dict(dict(weights))
    return predict(experts.network, images, statistics=experts.statistics)


def _start(real: ImageSet, experts: ExpertPool, ipc: Ipc, factor: int, init: str, generator: Generator) -> Tensor:
    """Initial stored images (C, ipc, c, h, w)."""
    if init != "correct":
        return start_images(real, ipc=ipc, factor=factor, init=init, generator=generator)
    counts, width = as_counts(ipc, real.num_classes), width_of(ipc)
    chosen, per_class = [], width * factor**2
    check_enough(real, tuple(count * factor**2 for count in counts))
    for index in range(real.num_classes):
        images = real.train.of_class(index)
        images = images[torch.randperm(len(images), generator=generator)]
        right = [images[:0]]
        for part in images.split(1024):  # until there are enough
            predicted = _logits_of_expert(experts, to_float(part)).argmax(1)
            right.append(part[predicted == index])
            if sum(map(len, right)) >= per_class:
                break
        found = torch.cat([*right, images])[:per_class]  # a class with too few is filled with others of it
        chosen.append(found[torch.arange(per_class) % len(found)])
    mosaics = stitch(to_float(torch.cat(chosen)), factor).unflatten(0, (real.num_classes, width))
    return blackened(mosaics.cpu().contiguous(), counts)
