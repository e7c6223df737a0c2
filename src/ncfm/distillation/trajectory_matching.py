"""Trajectory matching: a student trained on the set shall reach the weights of an expert trained on the real data.

References:
    Cazenavette et al., "Dataset Distillation by Matching Training Trajectories" (MTT), CVPR 2022.
    Guo et al., "Towards Lossless Dataset Distillation via Difficulty-Aligned Trajectory Matching" (DATM), ICLR 2024.
"""

from __future__ import annotations

import math
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ncfm._utils.seeding import Streams
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.options import DSA, Trajectories
from ncfm.distillation.players import Player
from ncfm.distillation.result import DistillResult
from ncfm.distillation.runner import Run
from ncfm.distillation.start_range import StartRange
from ncfm.distillation.trajectory_step import TrajectoryStep
from ncfm.synthetic.counts import Ipc, as_counts, blackened, width_of
from ncfm.synthetic.formation import Formation, stitch
from ncfm.synthetic.initialization import check_enough, start_images
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.experts import ExpertPool
from ncfm.training.fit import predict


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
        right, others = [images[:0]], [images[:0]]
        for part in images.split(1024):  # until there are enough
            is_right = _logits_of_expert(experts, to_float(part)).argmax(1) == index
            right.append(part[is_right])
            others.append(part[~is_right])
            if sum(map(len, right)) >= per_class:
                break
        found = torch.cat([*right, *others])[:per_class]  # a class with too few is filled with others of it
        chosen.append(found[torch.arange(per_class) % len(found)])
    mosaics = stitch(to_float(torch.cat(chosen)), factor).unflatten(0, (real.num_classes, width))
    return blackened(mosaics.cpu().contiguous(), counts)
