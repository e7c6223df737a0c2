"""Coresets: a few rows of a feature matrix that represent all, chosen greedily or by clustering."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ncfm._utils.checks import InputError

LARGE = 10_000  # rows above which mini-batch k-means is used, since a step over all rows would be too slow


def herding(features: Tensor, count: int) -> Tensor:
    """Positions of ``count`` rows of features (n, d) whose mean approximates the mean of all: greedy herding.

    Step j chooses the row that minimises ``|| mean - (sum of chosen + row) / (j + 1) ||``, each row at most once.

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
    """Positions of ``count`` rows of features (n, d) that cover all rows: farthest-first traversal.

    Each further row maximises ``min over chosen c of || row - c ||``, the first one in case of ties, and each row at
    most once. The covering radius, the largest distance of a row to its nearest chosen one, is then at most twice the
    optimal radius for ``count`` rows.

    The first row is the one nearest to the mean. The bound holds for any first row, so that no random draw is needed,
    and a single chosen row is a typical one.

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

    The centres are a local minimum of ``sum over rows of min over centres c of || row - c ||^2``, by Lloyd's algorithm
    with a k-means++ initialisation, or by mini-batch k-means if n is above `LARGE`. There is one initialisation, which
    is determined by the seed.

    Args:
        features: (n, d).
        count: number of clusters.
        seed: of the initialisation; its last 32 bits are used.

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
    # Double precision: last bits depend on the order of sums over threads, and then hardly ever change a choice.
    rows = features.detach().double().cpu()
    method = MiniBatchKMeans if len(rows) > LARGE else KMeans
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters: duplicates are chosen
        clusters = method(count, n_init=1, random_state=seed % 2**32).fit(rows.numpy())
    return nearest_free(rows, torch.from_numpy(clusters.cluster_centers_))


def nearest_free(features: Tensor, centres: Tensor) -> Tensor:
    """Positions of the rows of features (n, d) nearest to centres (k, d), all different; k at most n.

    Each centre in order takes the nearest row that no earlier centre has, the first one in case of ties.
    """
    # From differences, not products: equal rows are then at exactly equal distances.
    distances = torch.cdist(centres, features, compute_mode="donot_use_mm_for_euclid_dist")  # (k, n)
    chosen = []
    for to_rows in distances:
        best = int(to_rows.argmin())
        chosen.append(best)
        distances[:, best] = torch.inf
    return torch.tensor(chosen, dtype=torch.int64)


def _check_count(features: Tensor, count: int) -> None:
    if not 1 <= count <= len(features):
        raise InputError(f"The number of rows to choose must lie in 1..{len(features)}, got {count}.")
