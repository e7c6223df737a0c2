"""Distribution matching: from a real set and a pool of teachers to a synthetic set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ncfm._utils.checks import check_factor
from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.seeding import Streams
from ncfm.data.augment import SiameseAugment
from ncfm.data.image_set import ImageSet
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.loggers import MetricLogger
from ncfm.distillation.minmax_step import MinMaxStep, Player
from ncfm.distillation.objectives import Objective
from ncfm.distillation.result import DistillResult
from ncfm.distillation.runner import Run
from ncfm.synthetic.initialization import extended, start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool


def distill(
    real: ImageSet,
    pool: TeacherPool,
    objective: Objective,
    *,
    ipc: int,
    iterations: int = 1000,
    factor: int = 2,
    mode: str = "single",
    bound: int = 128,
    init: str = "mosaic",
    extend: SyntheticSet | None = None,
    augment: str = "color_crop_cutout_flip_scale_rotate",
    real_batch_per_class: int = 64,
    real_pool_per_class: int | None = None,
    image_lr: float = 0.01,
    image_schedule: str = "cosine",
    adversary_lr: float = 1e-3,
    ascent_steps: int = 1,
    descent_steps: int = 1,
    classes_per_step: int | None = None,
    matching_weight: float = 1.0,
    calibration_weight: float = 1.0,
    normalize_features: bool = True,
    extractor: str = "blended",
    recompute_batch_norms: bool = True,
    seconds: float | None = None,
    early_stop_patience: int | None = None,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    chunk_size: int = 64,
    gradient_chunk_size: int | None = None,
    compile_networks: bool = False,
    compile_step: bool = False,
    folder: Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 30.0,
    log_every: int = 10,
    diagnose_every: int | None = None,
    on_iteration: Callable[[int, dict[str, float]], None] | None = None,
    logger: MetricLogger | None = None,
    ranks: Ranks = ALONE,
) -> DistillResult:
    """Distil a real set into ``ipc`` stored images per class.

    Args:
        real: the real set; only its training split is used.
        pool: teachers; their device is where the work is done.
        objective: what is matched, on the same device; its adversary (if any) is trained.
        ipc: stored images per class; training sees ``formation.decoded_ipc`` of them.
        iterations: outer iterations.
        factor, mode, bound: multi-formation, see `ncfm.synthetic.formation.decode`.
        init: "noise", "real", "mosaic" or "first", see `ncfm.synthetic.initialization.start_images`.
        extend: a set whose images come first in each class of the start, see `ncfm.synthetic.initialization.extended`.
        augment: DSA strategy of the matching.
        real_batch_per_class: fresh real images of every class in an iteration.
        real_pool_per_class: images of a class that batches are drawn from, the first ones of the data; None for all.
        image_lr: Adam's learning rate on pixels in [0, 1].
        image_schedule: over the iterations: constant, cosine, step or fifths (see `TrainingRecipe`).
        seconds: a budget of time in place of the iterations; the schedule then runs over it. What a machine does in
            a time is not the same twice, so nor is the result.
        adversary_lr: Adam's learning rate of the adversary, constant.
        ascent_steps, descent_steps, classes_per_step, matching_weight, calibration_weight, normalize_features,
            extractor, recompute_batch_norms: see `MinMaxStep`.
        early_stop_patience: stop when the smoothed discrepancy has not fallen by 0.1 % for so many iterations.
        seed: of every random stream.
        precision, chunk_size, gradient_chunk_size, compile_networks, compile_step: see `MinMaxStep`.
        folder: where metrics and state are written; nothing is written if None.
        resume: continue from the state in ``folder``.
        checkpoint_seconds: time between saved states.
        log_every: iterations between metrics.
        diagnose_every: iterations between looks at the adversary, see `ncfm.distillation.diagnosis`; None for none.
        on_iteration: called after each iteration with its number and what it says of itself, see `Run.play`.
        logger: told the metrics as they are logged; closed in the end.
        ranks: who shares the classes; the objective is then built for the classes of this one's share. The first one
            writes, and all get the whole set.

    Raises:
        NcfmError: for settings that do not fit the data or each other.
        Interrupted: on Ctrl-C or SIGTERM, after the running iteration was finished and its state saved.
    """
    budget = Budget(iterations, image_lr, image_schedule, seconds, early_stop_patience)
    check_factor(real.image_size, factor)
    device = next(pool.blended.parameters()).device
    # Frequencies are k d numbers an iteration, millions: drawn where they are used.
    streams = Streams(seed, {"frequencies": device} if device.type == "cuda" else None)
    start = SyntheticSet(
        start_images(real, ipc=ipc, factor=factor, init=init, generator=streams["init"]),
        real.class_names,
        real.statistics,
        factor,
        mode,
        bound,
    )
    if extend is not None:
        start = extended(start, extend)
    images, adversary = _players(start.images[ranks.share(real.num_classes)], objective, device, image_lr, adversary_lr)
    drawn_from = real.train if real_pool_per_class is None else real.train.first(real_pool_per_class)
    step = MinMaxStep(
        drawn_from.to(device) if ranks.is_alone else drawn_from,
        images,
        adversary,
        objective=objective,
        pool=pool,
        streams=streams,
        augment=SiameseAugment(augment),
        real_batch_per_class=real_batch_per_class,
        factor=factor,
        mode=mode,
        bound=bound,
        matching_weight=matching_weight,
        calibration_weight=calibration_weight,
        ascent_steps=ascent_steps,
        descent_steps=descent_steps,
        classes_per_step=classes_per_step,
        normalize_features=normalize_features,
        extractor=extractor,
        recompute_batch_norms=recompute_batch_norms,
        precision=precision,
        chunk_size=chunk_size,
        gradient_chunk_size=gradient_chunk_size,
        compile_networks=compile_networks,
        compile_step=compile_step,
        ranks=ranks,
    )
    control = RunControl(
        folder=folder,
        resume=resume,
        checkpoint_seconds=checkpoint_seconds,
        log_every=log_every,
        diagnose_every=diagnose_every,
        on_iteration=on_iteration,
        logger=logger,
    )
    run = Run(step, control, late=device.type == "cuda", ranks=ranks, num_classes=real.num_classes)
    run.play(budget)
    return DistillResult(
        synthetic=start.with_images(run.images().cpu().clone()),
        start=start,
        iterations=run.progress.iteration,
        seconds=run.progress.seconds,
        stopped_early=not budget.is_spent(run.progress),
        history=run.history.entries,
        images_per_pass=step.images_per_pass,
        peak_memory_mb=run.progress.peak_memory_mb,
        rolled_back=run.progress.rolled_back,
    )


def _players(
    start: Tensor, objective: Objective, device: torch.device, image_lr: float, adversary_lr: float
) -> tuple[Player, Player | None]:
    """The images, which descend, and the adversary, which ascends (None if there is nothing to learn)."""
    pixels = start.to(device, copy=True).requires_grad_()
    images = Player([pixels], torch.optim.Adam([pixels], lr=image_lr))
    objective.to(device)
    if objective.adversary is None:
        return images, None
    tensors = list(objective.adversary.parameters())
    return images, Player(tensors, torch.optim.Adam(tensors, lr=adversary_lr, maximize=True))
