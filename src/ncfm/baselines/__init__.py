"""Baselines: selections of real images to compare a distilled set with."""

from ncfm.baselines.coresets import herding, k_center, k_means
from ncfm.baselines.selection import BY_FEATURES, BY_TEACHERS, SELECTIONS, choose, select

__all__ = ["BY_FEATURES", "BY_TEACHERS", "SELECTIONS", "choose", "herding", "k_center", "k_means", "select"]
