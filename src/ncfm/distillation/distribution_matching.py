"""Distribution matching: from a real set and a pool of teachers to a synthetic set."""

from __future__ import annotations

from ncfm._utils.compute import Compute
from ncfm._utils.seeding import Streams
from ncfm.data.image_set import ImageSet
from ncfm.data.strata import Strata
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.minmax_step import MinMaxStep
from ncfm.distillation.objectives import Objective
from ncfm.distillation.options import Extraction, Matching
from ncfm.distillation.players import make_players
from ncfm.distillation.result import DistillResult
from ncfm.distillation.runner import Run
from ncfm.synthetic.counts import Ipc
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start
from ncfm.training.clusters import cluster_classes
from ncfm.training.teachers import TeacherPool


def distill(
    real: ImageSet,
    pool: TeacherPool,
    objective: Objective,
    *,
    ipc: Ipc,
    formation: Formation | None = None,
    start: Start | None = None,
    matching: Matching | None = None,
    extraction: Extraction | None = None,
    budget: Budget | None = None,
    compute: Compute | None = None,
    control: RunControl | None = None,
    seed: int = 0,
) -> DistillResult:
    """Distil a real set into ``ipc`` stored images per class: the loop below `ncfm.distill`, with its defaults.

    Args:
        real: the real set; only its training split is used.
        pool: teachers; their device is where the work is done.
        objective: what is matched, on the same device; its adversary (if any) is trained. With several ranks it is
            built for the classes of this one's share.
        ipc: stored images per class, or of each class; training sees ``formation.decoded_ipc(ipc)`` of them.
        formation: how many training images a stored image holds.
        start: the images before the first iteration.
        matching: batches, the two players and the weights of the losses.
        extraction: the network that extracts an iteration's features.
        budget: iterations or seconds, learning rate of the images, early stopping.
        compute: precision, compilation, passes; and ranks: the first one writes, and all get the whole set.
        control: folder, checkpoints, logging.
        seed: of every random stream.

    Raises:
        NcfmError: for settings that do not fit the data or each other.
        Interrupted: on Ctrl-C or SIGTERM, after the running iteration was finished and its state saved.
    """
    formation, start, matching = formation or Formation(), start or Start(), matching or Matching()
    extraction, budget = extraction or Extraction(), budget or Budget()
    compute, control = compute or Compute(), control or RunControl()
    formation.check_image_size(real.image_size)
    device = next(pool.blended.parameters()).device
    # Frequencies are k d numbers per iteration, millions: they are drawn on their device.
    streams = Streams(seed, {"frequencies": device} if device.type == "cuda" else None)
    begun = start.draw(real, ipc, formation, streams["init"])
    ranks, pool_size = compute.ranks, matching.real_pool_per_class
    own = begun.images[ranks.share(real.num_classes)]
    images, adversary = make_players(own, objective, device, budget, matching.adversary_lr)
    drawn_from = real.train if pool_size is None else real.train.first(pool_size)
    step = MinMaxStep(
        drawn_from.to(device) if ranks.is_single else drawn_from,
        images,
        adversary,
        objective=objective,
        pool=pool,
        streams=streams,
        formation=formation,
        matching=matching,
        extraction=extraction,
        compute=compute,
        strata=clustered(real, pool, matching, streams) if matching.real_batches == "clustered" else None,
        counts=begun.counts,
    )
    run = Run(step, control, late=device.type == "cuda", ranks=ranks, num_classes=real.num_classes)
    run.play(budget)
    return run.result(begun.with_images(run.images().cpu().clone()), begun)


def clustered(real: ImageSet, pool: TeacherPool, matching: Matching, streams: Streams) -> Strata:
    """The clusters of every class of the training split, over which real batches are drawn evenly."""
    number = matching.num_clusters or matching.real_batch_per_class
    labels = cluster_classes(real, pool, space=matching.cluster_space, number=number, generator=streams["clusters"])
    return Strata(real.train, labels)
