"""Selections of real images: what a distilled set must beat, at the same storage."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from ncfm._checks import check_at_least, check_known
from ncfm.data.images import ImageSet, normalize, to_float
from ncfm.features import FeatureExtractor
from ncfm.synthetic import SyntheticSet, check_enough, start_images
from ncfm.teachers import TeacherPool

SELECTIONS = ("random", "herding", "mosaic")


def select(
    method: str, real: ImageSet, pool: TeacherPool, *, ipc: int, factor: int, generator: Generator
) -> SyntheticSet:
    """A set of ``ipc`` stored images per class made from real ones without optimisation.

    Args:
        method: "random" - whole images; "herding" - whole images chosen by `herding` in the features of the pool's
            first teacher; "mosaic" - each stored image a mosaic of factor^2 shrunk random images, which is the start
            that distillation improves on.
        real: the real set; only its training split is used.
        pool: teachers, for herding.
        ipc: stored images per class.
        factor: for the mosaic.
        generator: random choices.

    Raises:
        NcfmError: for an unknown method, or a class with too few images.
    """
    check_known(method, SELECTIONS, "selection")
    tiles = factor if method == "mosaic" else 1
    if method == "herding":
        images = herd(real, pool, ipc)
    else:
        images = start_images(real, ipc=ipc, factor=tiles, init="mosaic" if tiles > 1 else "real", generator=generator)
    return SyntheticSet(images, real.class_names, real.statistics, factor=tiles, facts={"method": method})


def herd(real: ImageSet, pool: TeacherPool, ipc: int) -> Tensor:
    """Images (C, ipc, c, h, w) chosen by herding in the features of the pool's first trained teacher."""
    check_at_least(ipc, 1, "ipc (images per class)")
    check_enough(real, ipc)
    extract = FeatureExtractor(pool.trained(0), chunk_size=256)
    device = next(pool.whole.parameters()).device
    chosen = []
    for index in range(real.num_classes):
        images = real.train.of_class(index)
        features = torch.cat(
            [
                extract.without_gradient(normalize(to_float(part.to(device)), real.statistics))
                for part in images.split(1024)
            ]
        )
        best = herding(features, min(ipc, len(images))).cpu()
        chosen.append(to_float(images[best[torch.arange(ipc) % len(best)]]))
    return torch.stack(chosen)


def herding(features: Tensor, count: int) -> Tensor:
    """Positions of ``count`` rows of features (n, d) whose mean follows the mean of all: greedy herding.

    Row j is chosen to minimise ``|| mean - (sum of chosen + row) / (j + 1) ||``, each row at most once.

    Reference:
        Welling, "Herding Dynamical Weights to Learn", ICML 2009.
    """
    mean = features.mean(0)
    total = torch.zeros_like(mean)
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for j in range(count):
        distances = torch.linalg.vector_norm(mean - (total + features) / (j + 1), dim=1)
        best = int(distances.masked_fill(~free, torch.inf).argmin())
        chosen.append(best)
        free[best] = False
        total = total + features[best]
    return torch.tensor(chosen, dtype=torch.int64)
