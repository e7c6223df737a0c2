"""Distillation: the min-max step, the loop around it, and its state on disk."""

from ncfm.distillation.loop import DistillResult, Interrupted, distill
from ncfm.distillation.step import MinMaxStep, Player, StepRecord, ascend

__all__ = ["DistillResult", "Interrupted", "MinMaxStep", "Player", "StepRecord", "ascend", "distill"]
