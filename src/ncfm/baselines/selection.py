"""Selections of real images: the baselines that a distilled set must beat at the same storage.

A selection is computed as positions in the training split, then turned into images. Positions that depend on features
are cached on disk by content hash, like teachers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from ncfm._utils.checks import InputError, check_at_least, check_known
from ncfm._utils.files import content_hash, release_pages
from ncfm._utils.types import Features, Statistics
from ncfm.baselines.coresets import herding, k_center, k_means
from ncfm.baselines.rded import choose_crops, rded
from ncfm.baselines.selection_cache import check_no_empty_class, read_choice, write_choice
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.networks.features import FeatureExtractor
from ncfm.synthetic.counts import Ipc
from ncfm.synthetic.initialization import check_enough, check_possible, start_images
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool

SELECTIONS = ("random", "herding", "kcenter", "kmeans", "mosaic", "rded")

BY_FEATURES: dict[str, Callable[[Features, int, int], Tensor]] = {
    "herding": lambda features, count, seed: herding(features, count),
    "kcenter": lambda features, count, seed: k_center(features, count),
    "kmeans": k_means,
}
"""Selections by teacher features: (features of a class (n, d), count, seed) -> positions (count,) of rows."""

BY_TEACHERS = (*BY_FEATURES, "rded")
"""Selections that need trained teachers."""

# Incremented when a change of the code makes cached positions differ from newly chosen ones.
CACHE_VERSION = 1


def select(
    method: str, real: ImageSet, pool: TeacherPool | None, *, ipc: Ipc, factor: int, generator: Generator
) -> SyntheticSet:
    """A set of ``ipc`` stored images per class, made from real images without optimisation.

    Args:
        method: "random" - whole images; "herding", "kcenter", "kmeans" - whole images chosen by `herding`, `k_center`
            or `k_means` within their class, in the features of the pool's first trained teacher; "mosaic" - mosaics of
            factor^2 shrunk random images, the initial images of a distillation; "rded" - mosaics of factor^2 realistic
            crops, with the defaults of `rded`.
        real: the real data; only the training split is used.
        pool: teachers, for the selections `BY_TEACHERS`; None for the others.
        ipc: stored images per class, or of each class: then a class has the images that a set of its number has.
        factor: of the mosaics.
        generator: draws the images of random and mosaic, the seeds of k-means, the crops of rded.

    Raises:
        NcfmError: for an unknown method, one that needs teachers without a pool, or a class with too few images.
    """
    check_known(method, SELECTIONS, "selection")
    if not isinstance(ipc, int):
        return _unequal(method, real, pool, ipc, factor, generator)
    if method == "rded":
        return rded(real, _needed(pool, method), ipc=ipc, factor=factor, generator=generator)
    tiles = factor if method == "mosaic" else 1
    if method in BY_FEATURES:
        at = choose(method, real, pool, ipc=ipc, factor=factor, generator=generator)
        images = to_float(real.train.batch(at.flatten())).unflatten(0, at.shape).cpu()
    else:  # the same draw as for the initial images of a distillation
        images = start_images(real, ipc=ipc, factor=tiles, init="mosaic" if tiles > 1 else "real", generator=generator)
    return SyntheticSet(images, real.class_names, real.statistics, factor=tiles, facts={"method": method})


def check_selection(method: str, real: ImageSet, ipc: Ipc, factor: int) -> None:
    """Check before the work that `select` has the images that it takes; arguments as there.

    Raises:
        NcfmError: for an unknown method, or if all classes have fewer images.
    """
    check_known(method, SELECTIONS, "selection")
    check_possible(real, ipc, factor if method in ("mosaic", "rded") else 1)


def _unequal(
    method: str, real: ImageSet, pool: TeacherPool | None, ipc: tuple[int, ...], factor: int, generator: Generator
) -> SyntheticSet:
    """A selection of unequal classes: each from the selection with its number, all of them from the same draws."""
    state, sets = generator.get_state(), {}
    for count in sorted(set(ipc)):
        generator.set_state(state)
        sets[count] = select(method, real, pool, ipc=count, factor=factor, generator=generator)
    widest = sets[max(ipc)]
    images = torch.zeros_like(widest.images)
    for c, count in enumerate(ipc):
        images[c, :count] = sets[count].images[c]
    return replace(widest, images=images, counts=ipc)


def choose(
    method: str, real: ImageSet, pool: TeacherPool | None, *, ipc: int, factor: int, generator: Generator
) -> Tensor:
    """Positions in the training split of the images that `select` chooses for each class.

    Int64 on the CPU, of shape (C, ipc), or (C, ipc * factor^2) for the tiles of mosaics in order. A class with fewer
    images repeats them. Choices by teachers are cached by content hash of everything that determines them, except the
    machine. ``generator`` advances equally on a cache hit and a miss.

    Args:
        method, real, pool, ipc, factor, generator: as in `select`.

    Raises:
        NcfmError: for an unknown method, one that needs teachers without a pool, or a class with too few images.
    """
    check_known(method, SELECTIONS, "selection")
    if method == "rded":
        return choose_crops(real, _needed(pool, method), ipc=ipc, factor=factor, generator=generator).positions
    check_at_least(ipc, 1, "ipc (images per class)")
    per_class = ipc * factor**2 if method == "mosaic" else ipc
    check_enough(real, per_class)
    if method not in BY_FEATURES:
        return draw_class_batches(real.train, per_class, generator).cpu()
    seeds = torch.zeros(real.num_classes, dtype=torch.int64)  # (C,)
    if method == "kmeans":  # drawn before the cache lookup
        seeds = torch.randint(2**32, seeds.shape, generator=generator)
    pool = _needed(pool, method)
    key = selection_key(method, real, pool, ipc, seeds)
    found = read_choice(key, real.train, ipc)
    if found is not None:
        return found["positions"]
    at = choose_by_features(method, real, pool, ipc, seeds)
    write_choice(key, {"positions": at}, data=real.name, method=method)
    return at


def _needed(pool: TeacherPool | None, method: str) -> TeacherPool:
    if pool is None:
        raise InputError(f"The selection {method!r} needs teachers; give it a pool, such as ncfm.pretrain makes.")
    return pool


def selection_key(method: str, real: ImageSet, pool: TeacherPool, ipc: int, seeds: Tensor) -> str:
    """Content hash of everything that determines a selection by features, except the machine."""
    features = pool.first_fingerprint
    return content_hash(f"selection {CACHE_VERSION}", method, real.fingerprint, str(ipc), features, seeds)


def choose_by_features(method: str, real: ImageSet, pool: TeacherPool, ipc: int, seeds: Tensor) -> Tensor:
    """Positions (C, ipc) chosen class by class in the features of the pool's first trained teacher.

    Args:
        method: of `BY_FEATURES`.
        real, pool, ipc: as in `select`.
        seeds: (C,), one per class; only k-means uses them.

    Raises:
        NcfmError: if a class has no images.
    """
    check_no_empty_class(real.train)
    extract = FeatureExtractor(pool.trained(0), chunk_size=256)
    device = next(pool.whole.parameters()).device
    places = torch.arange(ipc)
    rows = []
    for index, (offset, seed) in enumerate(zip(real.train.offsets.tolist(), seeds.tolist(), strict=True)):
        features = _features_of_class(extract, real, index, pool.statistics, device)
        best = BY_FEATURES[method](features, min(ipc, len(features)), seed)
        rows.append(offset + best[places % len(best)])  # (ipc,)
    return torch.stack(rows)


def _features_of_class(
    extract: FeatureExtractor, real: ImageSet, index: int, statistics: Statistics, device: torch.device
) -> Features:
    """Features (n, d) of all training images of one class, normalised as the teacher knows them, on the device."""
    parts = []
    for images in real.train.of_class(index).split(1024):  # limits the floats on the device
        parts.append(extract.without_gradient(normalize(to_float(images.to(device)), statistics)))
        release_pages()
    return torch.cat(parts)
