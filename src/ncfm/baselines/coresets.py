"""Rows that stand for many: positions of a few rows of a feature matrix, chosen greedily or as middles of clusters."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ncfm._utils.checks import NcfmError

LARGE = 10_000  # rows above which k-means moves its centres by random batches: a step over all rows then costs too much


def herding(features: Tensor, count: int) -> Tensor:
    """Positions of ``count`` rows of features (n, d) whose mean follows the mean of all: greedy herding.

    Row j is chosen to minimise ``|| mean - (sum of chosen + row) / (j + 1) ||``, each row at most once.

    Raises:
        NcfmError: unless ``count`` lies in 1 .. n.

    Reference:
        Welling, "Herding Dynamical Weights to Learn", ICML 2009.
    """
    _check_count(features, count)
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


def k_center(features: Tensor, count: int) -> Tensor:
    """Positions of ``count`` rows of features (n, d) that leave no row far away: farthest-first traversal.

    Each next row maximises ``min over chosen c of || row - c ||``; of equals the first, and each row at most once. The
    radius - the largest distance of a row to its nearest chosen one - is then at most twice the smallest that any
    ``count`` rows have.

    The first is the row nearest to the mean. The bound holds from any start, so nothing need be drawn; and where one
    row is all there is, it is a typical one and no stray.

    Raises:
        NcfmError: unless ``count`` lies in 1 .. n.

    Reference:
        Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance", Theoretical Computer Science 38, 1985;
        Sener and Savarese, "Active Learning for Convolutional Neural Networks: A Core-Set Approach", ICLR 2018,
        arXiv 1708.00489.
    """
    _check_count(features, count)
    chosen = [int(torch.linalg.vector_norm(features - features.mean(0), dim=1).argmin())]
    gaps = torch.full((len(features),), torch.inf, dtype=features.dtype, device=features.device)  # to the chosen rows
    for _ in range(count - 1):
        last = chosen[-1]
        gaps = torch.minimum(gaps, torch.linalg.vector_norm(features - features[last], dim=1))
        gaps[last] = -1.0  # below the 0 of its copies: they may still be chosen, it may not
        chosen.append(int(gaps.argmax()))
    return torch.tensor(chosen, dtype=torch.int64)


def k_means(features: Tensor, count: int, seed: int) -> Tensor:
    """Positions of the ``count`` rows of features (n, d) that are nearest to the centres of as many clusters.

    The centres are a local minimum of ``sum over rows of min over centres c of || row - c ||^2``: Lloyd's steps from a
    k-means++ start, or steps over random batches where n is above `LARGE`. One start alone: the seed stands for it, and
    every further one costs as much again.

    Args:
        features: (n, d).
        count: number of clusters.
        seed: of the start; its last 32 bits count.

    Raises:
        NcfmError: unless ``count`` lies in 1 .. n.

    Reference:
        Lloyd, "Least Squares Quantization in PCM", IEEE Transactions on Information Theory 28, 1982;
        Arthur and Vassilvitskii, "k-means++: The Advantages of Careful Seeding", SODA 2007;
        Sculley, "Web-Scale K-Means Clustering", WWW 2010 (mini-batches).
    """
    from sklearn.cluster import KMeans, MiniBatchKMeans  # slow to import, and only this selection needs it
    from sklearn.exceptions import ConvergenceWarning

    _check_count(features, count)
    # Double precision: the order in which threads add up may change last bits, which then do not move a centre across.
    rows = features.detach().double().cpu()
    method = MiniBatchKMeans if len(rows) > LARGE else KMeans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters: their copies are taken
        clusters = method(count, n_init=1, random_state=seed % 2**32).fit(rows.numpy())
    return nearest_free(rows, torch.from_numpy(clusters.cluster_centers_))


def nearest_free(features: Tensor, centres: Tensor) -> Tensor:
    """Positions of the rows of features (n, d) nearest to centres (k, d), all different; k at most n.

    Centres take turns in their order, each takes the nearest row that none before it has; of equals the first.
    """
    # Differences, not products: rows that are alike are then exactly as far.
    distances = torch.cdist(centres, features, compute_mode="donot_use_mm_for_euclid_dist")  # (k, n)
    chosen = []
    for to_rows in distances:
        best = int(to_rows.argmin())
        chosen.append(best)
        distances[:, best] = torch.inf
    return torch.tensor(chosen, dtype=torch.int64)


def _check_count(features: Tensor, count: int) -> None:
    if not 1 <= count <= len(features):
        raise NcfmError(f"The rows to choose must be 1 to {len(features)}, which is all there are, got {count}.")
