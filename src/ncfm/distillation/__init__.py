"""Distillation: objectives, steps, the run around an iteration, checkpoints, loggers."""

from ncfm.distillation.budget import Budget
from ncfm.distillation.callback import Callback
from ncfm.distillation.control import RunControl
from ncfm.distillation.distribution_matching import distill
from ncfm.distillation.interruption import Interrupted
from ncfm.distillation.minmax_step import MinMaxStep, StepRecord
from ncfm.distillation.players import Player, ascend
from ncfm.distillation.result import DistillResult
from ncfm.distillation.runner import Run
from ncfm.distillation.trajectory_matching import StartRange, TrajectoryStep, check_epochs, distill_trajectories

__all__ = [
    "Budget",
    "Callback",
    "DistillResult",
    "Interrupted",
    "MinMaxStep",
    "Player",
    "Run",
    "RunControl",
    "StartRange",
    "StepRecord",
    "TrajectoryStep",
    "ascend",
    "check_epochs",
    "distill",
    "distill_trajectories",
]
