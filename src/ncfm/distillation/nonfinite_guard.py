"""Iterations that leave a value that is not finite are rolled back: one bad batch does not end a run of hours."""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm._utils.checks import RunError
from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.progress import counted
from ncfm.distillation.step_protocol import Record, Step
from ncfm.training.checkpoint import optimizer_tensors

PATIENCE = 10  # iterations in a row that may be rolled back


class Guard:
    """Runs a step's iterations, and rolls back those that are not finite.

    An iteration is finite if its measurements and everything that it changed (images, adversary, optimizers, memory)
    are finite. One that is not leaves only its random draws: the next one has other images, teachers and frequencies.
    A GPU is not waited for: both outcomes are computed, and a mask selects one. All ranks roll back together.
    """

    def __init__(self, step: Step, ranks: Ranks = ALONE) -> None:
        self.step, self.ranks = step, ranks
        device = step.tensors()["images"].device
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=device)  # rolled back, up to the last iteration
        self.rolled_back = torch.zeros((), dtype=torch.int64, device=device)  # in total

    def __call__(self) -> Record:
        """Run one iteration. Its record is returned even where it was rolled back."""
        before = {name: tensor.detach().clone() for name, tensor in self._tensors().items()}
        record = self.step()
        after = self._tensors()
        measured = [value for value in record._asdict().values() if value is not None]
        finite = torch.stack([torch.isfinite(tensor).all() for tensor in (*measured, *after.values())]).all()
        finite = self.ranks.sum([(~finite).to(torch.int64)])[0] == 0
        self.in_a_row = torch.where(finite, 0, self.in_a_row + 1)
        self.rolled_back = self.rolled_back + ~finite
        if finite.device.type != "cpu" or not finite:  # reading a value of a CPU costs nothing
            for name, tensor in after.items():
                # Tensors that are new belong to an optimizer's first step; they are 0 before it.
                old = before.get(name, torch.zeros_like(tensor))
                tensor.detach().copy_(torch.where(finite, tensor, old))
        return record

    def _tensors(self) -> dict[str, Tensor]:
        """All tensors that an iteration changes, by name.

        Tensors that a CPU keeps next to a GPU (an optimizer's step count) are left out: selecting them would make one
        device wait for the other.
        """
        named = self.step.tensors()
        for name, optimizer in self.step.optimizers().items():
            named |= optimizer_tensors(name, optimizer)
        return {name: tensor for name, tensor in named.items() if tensor.device == self.in_a_row.device}


def check_patience(iteration: int, in_a_row: int, measured: str, patience: int = PATIENCE) -> None:
    """Check that not too many iterations in a row are rolled back.

    Args:
        iteration: the last one.
        in_a_row: iterations that were rolled back, up to this one.
        measured: its measurements, in words.
        patience: how many are too many.

    Raises:
        RunError: if there are ``patience`` or more.
    """
    if in_a_row >= patience:
        raise RunError(
            f"The loss or a gradient was not finite in {counted(in_a_row, 'iteration')} in a row, up to iteration "
            f"{iteration} "
            f"({measured}), and they were rolled back. Lower image_lr or adversary_lr, or use "
            "--set machine.precision=float32."
        )
