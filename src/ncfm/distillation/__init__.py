"""Distillation: the min-max step and its peers, the run around an iteration, and its checkpoints."""

from ncfm.distillation.budget import Budget
from ncfm.distillation.distribution_matching import distill
from ncfm.distillation.minmax_step import MinMaxStep, Player, StepRecord, ascend
from ncfm.distillation.runner import DistillResult, Interrupted
from ncfm.distillation.trajectory_matching import StartRange, TrajectoryStep, check_epochs, distill_trajectories

__all__ = [
    "Budget",
    "DistillResult",
    "Interrupted",
    "MinMaxStep",
    "Player",
    "StartRange",
    "StepRecord",
    "TrajectoryStep",
    "ascend",
    "check_epochs",
    "distill",
    "distill_trajectories",
]
