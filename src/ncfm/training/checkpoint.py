"""Trainings under way, on disk: one that was cut goes on with the epoch it had reached, bit for bit."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ncfm._utils.files import best_effort, content_hash, write_tensors

SECONDS = 60.0  # between two states of a training


class Unfinished:
    """The state of a training in a file: network, optimizer, schedule, generator, and the epochs it has behind it.

    A file that is damaged, or of another training, counts as none: the training begins anew.

    Args:
        path: the file; its name should say what determines the training, see `ncfm.training.teachers.teacher_key`.
        seconds: between two states.
    """

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self.path, self.seconds = path, seconds
        self.notes: list[float] = []  # the caller's, kept with the state
        self.earlier = 0.0  # seconds of earlier sittings
        self._begun = self._saved = time.monotonic()

    def resume(self, network: nn.Module, optimizer: Optimizer, schedule: LambdaLR, generator: Generator) -> int:
        """Fill all of them with the state on disk; the number of finished epochs, 0 if there is none."""
        self._begun = self._saved = time.monotonic()
        try:
            tensors, told = _read(self.path)
            epoch, steps, seconds = int(told["epoch"]), int(told["steps"]), float(told["seconds"])
            weights = {name.removeprefix("network."): v for name, v in tensors.items() if name.startswith("network.")}
            if weights.keys() != network.state_dict().keys():
                return 0
            network.load_state_dict(weights)
            restore_optimizer("optimizer", optimizer, tensors)
            generator.set_state(tensors["generator"])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
            return 0
        schedule.load_state_dict(schedule.state_dict() | {"last_epoch": steps, "_step_count": steps + 1})
        for group, lr, factor in zip(optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
            group["lr"] = lr * factor(steps)
        self.notes, self.earlier = [float(note) for note in told["notes"]], seconds
        return epoch

    def save(
        self, epoch: int, network: nn.Module, optimizer: Optimizer, schedule: LambdaLR, generator: Generator
    ) -> None:
        """Write the state after an epoch. A disk that cannot be written to stops no training."""
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        tensors |= optimizer_tensors("optimizer", optimizer) | {"generator": generator.get_state()}
        spent = self.earlier + time.monotonic() - self._begun
        told = json.dumps({"epoch": epoch, "steps": schedule.last_epoch, "seconds": spent, "notes": self.notes})
        tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        with best_effort():
            write_tensors(self.path, tensors, {"told": told, "checksum": _checksum(tensors, told)})
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last state is old enough for another one."""
        return time.monotonic() - self._saved >= self.seconds

    def finish(self) -> None:
        """The training is done: its state is of no more use."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and what was told with them.

    Raises:
        OSError, SafetensorError, ValueError, KeyError: if there is no such file, or it is damaged.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if metadata["checksum"] != _checksum(tensors, metadata["told"]):
        raise ValueError("damaged")
    return tensors, dict(json.loads(metadata["told"]))


def _checksum(tensors: Mapping[str, Tensor], told: str) -> str:
    # An axis more: counters, as BatchNorm and AdamW have, have none.
    return content_hash(told, *(part for name in sorted(tensors) for part in (name, tensors[name][None])))


def optimizer_tensors(name: str, optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimizer's per-tensor state as named tensors: ``name.<tensor index>.<key>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{name}.{index}.{key}": value
        for index, entry in state.items()
        for key, value in entry.items()
        if isinstance(value, Tensor)
    }


def restore_optimizer(name: str, optimizer: Optimizer, stored: Mapping[str, Tensor]) -> None:
    """Put the stored per-tensor state back; hyper-parameters stay those the optimizer was built with."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        if key.startswith(f"{name}."):
            _, index, entry = key.rsplit(".", 2)
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
