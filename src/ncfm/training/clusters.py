"""The k-means clusters of every class of a training split, in a teacher's features or in pixels; cached on disk."""

from __future__ import annotations

import warnings

import torch
from torch import Generator, Tensor

from ncfm._utils.cache import CacheEntry
from ncfm._utils.checks import check_at_least, check_known
from ncfm._utils.files import content_hash, release_pages
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.networks.features import FeatureExtractor
from ncfm.training.teachers import TeacherPool

SPACES = ("features", "pixels")
STEPS = 50  # of Lloyd's algorithm at most: clusters that batches are spread over need not be a minimum

# Incremented when a change of the code makes cached clusters differ from newly made ones.
CACHE_VERSION = 1


def cluster_classes(
    real: ImageSet, pool: TeacherPool, *, space: str = "features", number: int, generator: Generator
) -> Tensor:
    """The cluster of each training image within its class, (N,) int64 from 0; the smaller classes have fewer clusters.

    Args:
        real: the real data; only the training split is used.
        pool: its first trained teacher extracts the features, projected onto the unit sphere.
        space: of `SPACES`: "features" or "pixels", normalised ones.
        number: of clusters of a class, at least 1; a class with fewer images has one for each.
        generator: draws the seed of k-means, also if the clusters are in the cache.

    Raises:
        NcfmError: for another space or number.

    Reference:
        Liu et al., "DREAM: Efficient Dataset Distillation by Representative Matching", ICCV 2023.
    """
    check_known(space, SPACES, "space of clusters")
    check_at_least(number, 1, "num_clusters")
    seed = int(torch.randint(2**31, (), generator=generator))
    by = pool.first_fingerprint if space == "features" else repr(real.statistics)
    key = content_hash(f"clusters {CACHE_VERSION}", real.fingerprint, space, by, str(number), str(seed))
    entry = CacheEntry("clusters", key)

    def parse(stored: CacheEntry) -> Tensor | None:
        found = stored.tensors()["clusters"]
        return found.clone() if found.shape == (len(real.train),) and found.dtype == torch.int64 else None

    clusters = entry.read(parse)
    if clusters is None:
        clusters = torch.cat([_cluster(_rows(real, pool, space, c), number, seed) for c in range(real.num_classes)])
        entry.write({"clusters": clusters}, {"data": real.name, "space": space, "number": number})
    return clusters


def _rows(real: ImageSet, pool: TeacherPool, space: str, index: int) -> Tensor:
    """All training images of a class as rows (n, d) on the CPU."""
    device = next(pool.whole.parameters()).device
    extract = FeatureExtractor(pool.trained(0), chunk_size=256)
    statistics = pool.statistics if space == "features" else real.statistics
    rows = []
    for images in real.train.of_class(index).split(1024):  # limits the floats on the device
        shown = normalize(to_float(images.to(device)), statistics)
        rows.append((extract.without_gradient(shown) if space == "features" else shown.flatten(1)).cpu())
        release_pages()
    return torch.cat(rows)


def _cluster(rows: Tensor, number: int, seed: int) -> Tensor:
    """The cluster (n,) of each row (n, d), numbered from 0 without gaps."""
    from sklearn.cluster import KMeans  # slow to import, and few runs need it
    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters
        found = KMeans(min(number, len(rows)), n_init=1, max_iter=STEPS, random_state=seed).fit_predict(rows.numpy())
    return torch.from_numpy(found).long().unique(return_inverse=True)[1]
