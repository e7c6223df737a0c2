"""One iteration of trajectory matching: a student trained on the set shall reach the weights of an expert.

`ncfm.distillation.unrolling` has the mathematics of an iteration. This module draws its inputs and updates the players.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer

from ncfm._utils.accelerator import to_device
from ncfm._utils.seeding import Streams
from ncfm.data.augment import AugmentParameters, SiameseAugment
from ncfm.data.normalization import normalizer
from ncfm.distillation.class_sizes import ClassSizes, EqualSizes, UnequalSizes
from ncfm.distillation.options import Trajectories
from ncfm.distillation.players import Player
from ncfm.distillation.start_range import StartRange, check_epochs
from ncfm.distillation.unrolling import Gap, Loss, replayed, unrolled
from ncfm.networks.layout import channels_last
from ncfm.synthetic.counts import in_use
from ncfm.synthetic.formation import Formation
from ncfm.training.experts import ExpertPool

DIFFERENTIATIONS: dict[str, Callable[..., Gap]] = {
    "unrolled": unrolled,
    "replayed": replayed,
    "tesla": partial(replayed, curvature=False),
}
"""How an iteration's gradient is taken, see `ncfm.distillation.unrolling`."""


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
