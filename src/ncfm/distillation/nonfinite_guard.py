"""Iterations that leave something not finite are taken back: one bad batch does not end a run of hours."""

from __future__ import annotations

import torch
from torch import Tensor

from ncfm._utils.checks import NcfmFailure
from ncfm._utils.distributed import ALONE, Ranks
from ncfm.distillation.step_protocol import Record, Step
from ncfm.training.checkpoint import optimizer_tensors

PATIENCE = 10  # iterations in a row that may be taken back


class Guard:
    """Plays a step's iterations, and takes back those that are not finite.

    An iteration is sound if what it measured and everything that it changed (images, adversary, optimizers, memory) is
    finite. Of one that is not nothing stays but its draws: the next one has other images, teachers and frequencies. On
    a GPU this takes no waiting: both outcomes are at hand, and a mask chooses. What one rank takes back all do.
    """

    def __init__(self, step: Step, ranks: Ranks = ALONE) -> None:
        self.step, self.ranks = step, ranks
        device = step.tensors()["images"].device
        self.in_a_row = torch.zeros((), dtype=torch.int64, device=device)  # taken back, up to the last iteration
        self.taken_back = torch.zeros((), dtype=torch.int64, device=device)  # in all

    def __call__(self) -> Record:
        """Play one iteration; what it measured is given back also where it was taken back."""
        before = {name: tensor.detach().clone() for name, tensor in self._state().items()}
        record = self.step()
        after = self._state()
        told = [value for value in record._asdict().values() if value is not None]
        sound = torch.stack([torch.isfinite(tensor).all() for tensor in (*told, *after.values())]).all()
        sound = self.ranks.sum([(~sound).to(torch.int64)])[0] == 0
        self.in_a_row = torch.where(sound, 0, self.in_a_row + 1)
        self.taken_back = self.taken_back + ~sound
        if sound.device.type != "cpu" or not sound:  # to ask a CPU costs nothing
            for name, tensor in after.items():
                # What was not there before are moments of an optimizer's first step, which are 0 before it.
                old = before.get(name, torch.zeros_like(tensor))
                tensor.detach().copy_(torch.where(sound, tensor, old))
        return record

    def _state(self) -> dict[str, Tensor]:
        """All that an iteration changes, by name.

        But what a CPU counts beside a GPU (an optimizer's steps), for which the one would have to wait for the other.
        """
        named = self.step.tensors()
        for name, optimizer in self.step.optimizers().items():
            named |= optimizer_tensors(name, optimizer)
        return {name: tensor for name, tensor in named.items() if tensor.device == self.in_a_row.device}


def check_patience(iteration: int, in_a_row: int, measured: str, patience: int = PATIENCE) -> None:
    """Check that iterations are not taken back for ever.

    Args:
        iteration: the last one.
        in_a_row: iterations that were taken back, up to this one.
        measured: what it measured, in words.
        patience: how many are too many.

    Raises:
        NcfmFailure: if they are.
    """
    if in_a_row >= patience:
        raise NcfmFailure(
            f"The loss or a gradient was not finite in {in_a_row} iterations in a row, up to iteration {iteration} "
            f"({measured}), and they were taken back. Lower image_lr or adversary_lr, or use "
            "--set machine.precision=float32."
        )
