"""Architecture search by proxy: does a distilled set rank networks like the full dataset?

Every network of a grid is trained on the set and on the full training split, and tested on the real test split. A
search requires that the rankings agree, and that the best network by proxy is good when trained on the full split.

Reference:
    Such et al., "Generative Teaching Networks: Accelerating Neural Architecture Search by Learning to Generate
    Synthetic Training Data", ICML 2020; with distilled sets: Zhao, Mopuri and Bilen, "Dataset Condensation with
    Gradient Matching", ICLR 2021.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ncfm._utils.checks import InputError, check_at_least
from ncfm.evaluation.rankings import RankCorrelation, rank_correlation
from ncfm.networks.norms import NORMS


@dataclass(frozen=True)
class SearchResult:
    """Accuracies of a grid of networks, by proxy and by full training; they are fractions."""

    networks: tuple[str, ...]
    proxy: tuple[float, ...]  # mean accuracy, trained on the set
    full: tuple[float, ...]  # mean accuracy, trained on the full split
    proxy_seconds: float  # of all trainings on the set
    full_seconds: float  # of all trainings on the full split

    @property
    def correlation(self) -> RankCorrelation:
        """Rank correlation of the two accuracies."""
        return rank_correlation(self.proxy, self.full)

    @property
    def chosen(self) -> int:
        """Index of the best network by proxy."""
        return max(range(len(self.networks)), key=lambda i: self.proxy[i])

    @property
    def regret(self) -> float:
        """Best full accuracy minus the full accuracy of the best network by proxy."""
        return max(self.full) - self.full[self.chosen]


def convnet_grid(depths: Sequence[int], widths: Sequence[int], norms: Sequence[str], *, image_size: int) -> list[str]:
    """Names of ConvNets of all depths, widths and norms; depths that are too large for the image are skipped.

    >>> convnet_grid([1, 2], [8], ["instance", "none"], image_size=8)
    ['convnet1w8-instance', 'convnet1w8-none', 'convnet2w8-instance', 'convnet2w8-none']

    Raises:
        NcfmError: for an unknown norm, or fewer than three networks, for which a rank correlation is meaningless.
    """
    unknown = [norm for norm in norms if norm not in NORMS]
    if unknown:
        raise InputError(f"Unknown norm {unknown[0]!r}. Known: {', '.join(NORMS)}.")
    for value in (*depths, *widths):
        check_at_least(value, 1, "depth and width")
    grid = [
        f"convnet{depth}w{width}-{norm}"
        for depth, width, norm in itertools.product(depths, widths, norms)
        if 2**depth <= image_size
    ]
    if len(grid) < 3:
        raise InputError(f"Expected a grid of at least 3 networks for images of {image_size} px, got {len(grid)}.")
    return grid
