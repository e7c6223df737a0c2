"""Architecture search by proxy: are networks ranked on a distilled set as they are on the full one?

Every network of a grid is trained twice, on the set and on the full training split, and tested on the real test split.
What a search needs is that the order agrees, and that the best by proxy is good in earnest.

Reference:
    Such et al., "Generative Teaching Networks: Accelerating Neural Architecture Search by Learning to Generate
    Synthetic Training Data", ICML 2020; as a use of distilled sets: Zhao, Mopuri and Bilen, "Dataset Condensation with
    Gradient Matching", ICLR 2021.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from ncfm._utils.checks import NcfmError, check_at_least
from ncfm.evaluation.rankings import RankCorrelation, rank_correlation
from ncfm.networks.norms import NORMS


@dataclass(frozen=True)
class SearchResult:
    """A grid of networks, ranked by proxy and in earnest; accuracies are fractions."""

    networks: tuple[str, ...]
    proxy: tuple[float, ...]  # mean accuracy of students of the set
    full: tuple[float, ...]  # mean accuracy of students of the full training split
    proxy_seconds: float  # all students of the set took
    full_seconds: float  # all students of the full split took

    @property
    def correlation(self) -> RankCorrelation:
        """Agreement of the two orders."""
        return rank_correlation(self.proxy, self.full)

    @property
    def chosen(self) -> int:
        """The best by proxy."""
        return max(range(len(self.networks)), key=lambda i: self.proxy[i])

    @property
    def regret(self) -> float:
        """What the best by proxy falls short of the best in earnest, in earnest."""
        return max(self.full) - self.full[self.chosen]


def convnet_grid(depths: Sequence[int], widths: Sequence[int], norms: Sequence[str], *, image_size: int) -> list[str]:
    """Names of ConvNets of all depths, widths and norms; depths that would halve the image below a pixel are left out.

    >>> convnet_grid([1, 2], [8], ["instance", "none"], image_size=8)
    ['convnet1w8-instance', 'convnet1w8-none', 'convnet2w8-instance', 'convnet2w8-none']

    Raises:
        NcfmError: for an unknown norm, or fewer than three networks, which have no ranking worth the name.
    """
    unknown = [norm for norm in norms if norm not in NORMS]
    if unknown:
        raise NcfmError(f"Unknown norm {unknown[0]!r}. Known: {', '.join(NORMS)}.")
    for value in (*depths, *widths):
        check_at_least(value, 1, "depth and width")
    grid = [
        f"convnet{depth}w{width}-{norm}"
        for depth, width, norm in itertools.product(depths, widths, norms)
        if 2**depth <= image_size
    ]
    if len(grid) < 3:
        raise NcfmError(f"Expected a grid of at least 3 networks for images of {image_size} px, got {len(grid)}.")
    return grid
