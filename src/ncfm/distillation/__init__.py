"""Distillation: objectives, steps, the run around an iteration, checkpoints, loggers."""

from ncfm.distillation.budget import Budget
from ncfm.distillation.callback import Callback
from ncfm.distillation.control import RunControl
from ncfm.distillation.distribution_matching import distill
from ncfm.distillation.interruption import Interrupted
from ncfm.distillation.minmax_step import MinMaxStep
from ncfm.distillation.players import Player, ascend
from ncfm.distillation.result import DistillResult
from ncfm.distillation.runner import Run
from ncfm.distillation.start_range import StartRange, check_epochs
from ncfm.distillation.step_record import StepRecord
from ncfm.distillation.trajectory_matching import distill_trajectories
from ncfm.distillation.trajectory_step import TrajectoryStep

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
