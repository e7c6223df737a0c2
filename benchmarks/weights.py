"""`python -m benchmarks.weights`: how long each objective's gradient on the images is, beside that of NCFD.

Objectives have different scales, and share the loop with a calibration whose weight is 1. `ncfm compare` gives each a
weight with which its gradient at the start is about as long as that of NCFD at its own weight: this is where those
weights come from. The same real batches, teachers and augmentations for all: one seed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from unittest.mock import patch

from rich.console import Console
from rich.table import Table
from torch import Tensor

from benchmarks.records import WeightRow
from ncfm._utils.compute import Compute
from ncfm._utils.progress import Silent
from ncfm.config.distribution_matching import run_distillation
from ncfm.config.methods import METHODS
from ncfm.config.resolve import resolve_config
from ncfm.config.schema import RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.distillation.control import RunControl
from ncfm.distillation.players import Player
from ncfm.results.files import Conditions, append_rows
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.preparation import prepare, train_teachers

NAMES = ("ncfm", "mean", "mse", "mmd", "dsdm", "fisher", "entropic")


def main() -> None:
    """Play a few iterations of every objective without calibration, print the table, append the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.weights", description=__doc__)
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--ipc", type=int, default=10)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--results", type=Path, help="append rows to this file (results/weights.csv)")
    options = parser.parse_args()
    norms, weights = {}, {}
    for name in NAMES:
        config = resolve_config(options.dataset, options.ipc, None, METHODS[name].settings, None)
        weights[name] = config.distill.matching_weight
        images, machine = prepare(options.dataset, config, None)
        pool = train_teachers(images, config, machine, Silent())
        norms[name] = gradient_norms(images, pool, config, machine, ipc=options.ipc, iterations=options.iterations)
    mean = {name: statistics.fmean(found) for name, found in norms.items()}
    alike = {name: weights["ncfm"] * mean["ncfm"] / mean[name] for name in NAMES}
    table = Table("objective", "gradient's norm", "from", "to", "weight as NCFD", "weight used")
    for name, found in norms.items():
        shown = (f"{v:.3g}" for v in (mean[name], min(found), max(found), alike[name], weights[name]))
        table.add_row(name, *shown)
    Console().print(table)
    if options.results:
        here = {k: v for k, v in asdict(Conditions.here(machine.device)).items() if k != "peak_memory_mb"}
        rows = [
            WeightRow(
                dataset=options.dataset,
                ipc=options.ipc,
                method=name,
                iterations=options.iterations,
                gradient_norm_mean=mean[name],
                gradient_norm_min=min(found),
                gradient_norm_max=max(found),
                weight_alike=alike[name],
                weight_used=weights[name],
                **here,
            )
            for name, found in norms.items()
        ]
        append_rows(options.results, rows)


def gradient_norms(
    images: ImageSet, pool: TeacherPool, config: RunConfig, machine: Compute, *, ipc: int, iterations: int
) -> list[float]:
    """Length of the gradient of the sum over classes of the discrepancy on all images, at every iteration.

    The images move as they would in a run of the objective alone.
    """
    alone = {"calibration_weight": 0.0, "matching_weight": 1.0, "iterations": iterations}
    config = config.model_copy(update={"distill": replace(config.distill, **alone)})
    norms: list[float] = []
    move = Player.update

    def recording(player: Player, gradients: Sequence[Tensor]) -> None:
        if player.tensors[0].dim() == 5:  # the images (C, ipc, c, h, w), not the adversary's weights
            norms.append(float(gradients[0].norm()))
        move(player, gradients)

    with patch.object(Player, "update", recording):
        run_distillation(images, pool, config, machine, ipc=ipc, control=RunControl())
    return norms


if __name__ == "__main__":
    main()
