"""Trajectory matching: the loop of the objectives mtt and datm, which compare training trajectories.

Here is all that happens for them: the experts that they need, what is checked before these are trained, and what runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.files import cache_dir
from ncfm._utils.seeding import derive_seed
from ncfm.config.build import build_control, teachers_seed
from ncfm.config.pools import OnEpoch, PoolSource
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation import DistillResult, StartRange, check_epochs, distill_trajectories
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.options import Trajectories
from ncfm.synthetic.counts import Ipc
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.experts import STORED, ExpertPool, Trajectory, expert_key, flat, record_experts
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import network_for


class TrajectoryMatching:
    """How mtt and datm are distilled."""

    sections: tuple[str, ...] = ("teachers.", "distill.", "labels.", "objective.", "frequencies.", "trajectory.")

    def needs(self, config: RunConfig) -> PoolSource[ExpertPool]:
        """Experts."""
        return EXPERTS

    def check(self, images: ImageSet, config: RunConfig, machine: Compute) -> None:
        """Check what can be checked before experts are trained.

        Raises:
            NcfmError: for several processes, teachers' soft labels, a pool of teachers, a set to extend, students
                that would start too late, an unknown augmentation, or a network that does not fit the images.
        """
        if config.teachers.pool is not None:
            raise InputError(
                f"{config.objective.name} matches whole trajectories of experts, and teachers.pool has start and "
                "end of a training only; leave teachers.pool out."
            )
        if not machine.ranks.is_single:
            raise InputError(f"{config.objective.name} works in one process; start it without torchrun.")
        if config.labels.kind == "soft":
            raise InputError(
                "labels.kind=soft stores the labels of teachers, and trajectories have none; datm learns labels."
            )
        check_start(config)
        check_epochs(build_starts(config), config.trajectory.matched_epochs, config.trajectory.epochs)
        build_expert_recipe(config)
        network_for(images, config.teachers.network, seed=0)

    def run(
        self,
        images: ImageSet,
        networks: ExpertPool,
        config: RunConfig,
        machine: Compute,
        *,
        ipc: Ipc,
        control: RunControl,
        extend: SyntheticSet | None = None,
    ) -> DistillResult:
        """Match trajectories; datm stores the labels that it learned. `check_start` refuses a set to extend."""
        return run_trajectory_matching(images, networks, config, ipc=ipc, control=control)


class Experts:
    """Networks recorded after every epoch of their training, see `PoolSource`."""

    name = "experts"
    is_trained = True

    def key(self, config: RunConfig) -> str:
        """See `PoolSource`."""
        return repr((config.teachers.model_copy(update={"seed": teachers_seed(config)}), config.trajectory))

    def count(self, config: RunConfig) -> int:
        """See `PoolSource`."""
        return config.trajectory.experts

    def recipe(self, config: RunConfig) -> TrainingRecipe:
        """See `PoolSource`."""
        return build_expert_recipe(config)

    def num_missing(self, images: ImageSet, config: RunConfig, machine: Compute) -> int:
        """See `PoolSource`."""
        recipe, seed, folder = self.recipe(config), teachers_seed(config), cache_dir() / "experts"
        keys = (
            expert_key(images, config.teachers.network, recipe, derive_seed(seed, "experts", i), machine.precision)
            for i in range(self.count(config))
        )
        return sum(not (folder / f"{key}.safetensors").exists() for key in keys)

    def obtain(
        self, images: ImageSet, config: RunConfig, machine: Compute, on_epoch: OnEpoch | None = None
    ) -> ExpertPool:
        """See `PoolSource`."""
        return build_experts(images, config, machine, on_epoch)

    def measure(self, networks: Any, images: ImageSet) -> None:
        """See `PoolSource`: experts are matched in every epoch, and none of them is measured."""

    def untrained(self, images: ImageSet, config: RunConfig, machine: Compute) -> ExpertPool:
        """See `PoolSource`: one expert, on a line between two random networks, so that no target is its start."""
        first, last = (network_for(images, config.teachers.network, seed=seed) for seed in (0, 1))
        along = torch.linspace(0, 1, config.trajectory.epochs + 1)[:, None]  # (epochs + 1, 1)
        states = torch.lerp(flat(first), flat(last), along).to(STORED)  # (epochs + 1, P)
        return ExpertPool([Trajectory(states, 0.0)], first, statistics=images.statistics, device=machine.device)


EXPERTS = Experts()


def build_starts(config: RunConfig) -> StartRange:
    """The expert's epochs from which students start; for datm a range that grows."""
    t = config.trajectory
    if config.objective.name != "datm":
        return StartRange(t.start_low, t.start_high)
    first = t.start_high // 2 if t.start_first_high is None else t.start_first_high
    return StartRange(t.start_low, t.start_high, max(first, t.start_low), t.start_growth)


def build_expert_recipe(config: RunConfig) -> TrainingRecipe:
    """How experts are trained: plain SGD of a constant rate, whose trajectories plain steps can follow."""
    t = config.trajectory
    return TrainingRecipe(
        epochs=t.epochs,
        optimizer="sgd",
        lr=t.lr,
        batch_size=t.batch_size,
        schedule="constant",
        augment=t.augment,
        momentum=0.0,
        weight_decay=0.0,
    )


def build_experts(
    images: ImageSet,
    config: RunConfig,
    machine: Compute,
    on_epoch: Callable[[int, int], None] | None = None,
) -> ExpertPool:
    """The experts whose trajectories are matched, from the cache where possible.

    Raises:
        NcfmError: if students would start too late to have a target; raised before minutes of training.
    """
    t = config.trajectory
    check_epochs(build_starts(config), t.matched_epochs, t.epochs)
    return record_experts(
        images,
        network=config.teachers.network,
        num_experts=t.experts,
        recipe=build_expert_recipe(config),
        seed=config.seed if config.teachers.seed is None else config.teachers.seed,
        compute=machine,
        on_epoch=on_epoch,
    )


def check_start(config: RunConfig) -> None:
    """Check that the start of the images needs no teachers.

    Raises:
        NcfmError: for a set to extend, and for realistic crops.
    """
    if config.distill.extend is not None:
        raise InputError("distill.extend is for the objectives that match distributions, not trajectories.")
    if config.distill.init == "rded":
        raise InputError(
            "distill.init=rded needs teachers, and trajectories have none; datm has trajectory.correct_start."
        )


def run_trajectory_matching(
    images: ImageSet, experts: ExpertPool, config: RunConfig, *, ipc: Ipc, control: RunControl
) -> DistillResult:
    """Match trajectories with the configuration's settings.

    Raises:
        NcfmError: in addition to those of `distill_trajectories`, for a start that needs teachers.
    """
    d, t = config.distill, config.trajectory
    check_start(config)
    datm = config.objective.name == "datm"
    return distill_trajectories(
        images,
        experts,
        ipc=ipc,
        start=build_starts(config),
        init="correct" if datm and t.correct_start else d.init,
        label_precision=config.labels.precision if datm else None,
        augment=d.augment,
        formation=Formation.of(d),
        options=Trajectories.of(t),
        budget=Budget.of(d),
        control=build_control(config, control),
        seed=config.seed,
    )
