"""Baselines and peers: what a distilled set is compared with."""

from ncfm.baselines.coresets import herding, k_center, k_means
from ncfm.baselines.selection import BY_FEATURES, BY_TEACHERS, SELECTIONS, choose, select

__all__ = ["BY_FEATURES", "BY_TEACHERS", "SELECTIONS", "choose", "herding", "k_center", "k_means", "select"]
