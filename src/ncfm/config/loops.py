"""The loops that distil, by objective: a table from the name of an objective to the file where its loop is."""

from __future__ import annotations

from typing import Any, Protocol

from ncfm._utils.compute import Compute
from ncfm.config.distribution_matching import DistributionMatching
from ncfm.config.pools import PoolSource
from ncfm.config.schema import TRAJECTORY_OBJECTIVES, RunConfig
from ncfm.config.trajectory_matching import TrajectoryMatching
from ncfm.data.image_set import ImageSet
from ncfm.distillation import DistillResult
from ncfm.distillation.control import RunControl
from ncfm.distillation.objectives import OBJECTIVES
from ncfm.synthetic.counts import Ipc
from ncfm.synthetic.synthetic_set import SyntheticSet


class Loop(Protocol):
    """How the set of an objective is distilled."""

    sections: tuple[str, ...]
    """Beginnings of the dotted settings that can change the set, and so belong to the name of a variant."""

    def needs(self, config: RunConfig) -> PoolSource[Any]:
        """The networks that it needs."""
        ...

    def check(self, images: ImageSet, config: RunConfig, machine: Compute) -> None:
        """Check the settings before these networks are trained.

        Raises:
            NcfmError: for settings with which `run` would fail.
        """
        ...

    def run(
        self,
        images: ImageSet,
        networks: Any,
        config: RunConfig,
        machine: Compute,
        *,
        ipc: Ipc,
        control: RunControl,
        extend: SyntheticSet | None = None,
    ) -> DistillResult:
        """Distil; ``networks`` are those that it needs, ``control`` says what happens next to the iterations, and
        ``extend`` is the set that the configuration names, if it is to be extended."""
        ...


DISTRIBUTION_MATCHING = DistributionMatching()

LOOPS: dict[str, Loop] = {
    **dict.fromkeys(OBJECTIVES, DISTRIBUTION_MATCHING),
    **dict.fromkeys(TRAJECTORY_OBJECTIVES, TrajectoryMatching()),
}


def loop_of(config: RunConfig) -> Loop:
    """The loop of the objective; the user's own objectives match distributions."""
    return LOOPS.get(config.objective.name, DISTRIBUTION_MATCHING)
