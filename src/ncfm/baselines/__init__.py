"""Baselines and peers: what a distilled set is compared with."""

from ncfm.baselines.selection import SELECTIONS, herding, select

__all__ = ["SELECTIONS", "herding", "select"]
