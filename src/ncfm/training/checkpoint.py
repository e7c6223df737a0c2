"""Checkpoints of a training: an interrupted one resumes after its last finished epoch, bit for bit."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from safetensors import SafetensorError, safe_open
from torch import Generator, Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from ncfm._utils.accelerator import to_host
from ncfm._utils.files import best_effort, content_hash, write_tensors

SECONDS = 60.0  # between two checkpoints of a training
FACTS = "told"  # key of the facts in the metadata of the file; earlier versions have written it

Generators: TypeAlias = Generator | Sequence[Generator]
"""The random stream of a training, or those of networks that are trained side by side."""


class TrainingCheckpoint:
    """A training in a file: network, optimizer, schedule, generator, and the number of finished epochs.

    A file that is damaged, or of another training, counts as missing: the training starts from its first epoch.

    Args:
        path: the file; its name should contain the hash of what determines the training, see
            `ncfm._utils.cache.CacheEntry.checkpoint_path`.
        seconds: between two checkpoints.
    """

    def __init__(self, path: Path, seconds: float = SECONDS) -> None:
        self.path, self.seconds = path, seconds
        self.notes: list[float] = []  # the caller's, saved with the checkpoint
        self.earlier = 0.0  # seconds that the training took before it was resumed
        self._started = self._saved = time.monotonic()
        self._is_noted = True  # whether the notes of the last epoch are complete

    @contextlib.contextmanager
    def taking_notes(self) -> Iterator[None]:
        """While the caller takes notes of an epoch. If that fails, the epoch is not saved: its notes would be missing
        in the resumed training, which repeats the epochs since the checkpoint before."""
        self._is_noted = False
        yield
        self._is_noted = True

    def resume(self, network: nn.Module, optimizer: Optimizer, schedule: LambdaLR, generators: Generators) -> int:
        """Load the checkpoint into all of them, in place; return its number of finished epochs, 0 without one."""
        self._started = self._saved = time.monotonic()
        try:
            tensors, facts = _read(self.path)
            epoch, steps, seconds = int(facts["epoch"]), int(facts["steps"]), float(facts["seconds"])
            weights = {name.removeprefix("network."): v for name, v in tensors.items() if name.startswith("network.")}
            if weights.keys() != network.state_dict().keys():
                return 0
            draws = {name: tensors[name] for name in _named(generators)}
            network.load_state_dict(weights)
            restore_optimizer("optimizer", optimizer, tensors)
            for name, generator in _named(generators).items():
                generator.set_state(draws[name])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError):
            return 0
        schedule.load_state_dict(schedule.state_dict() | {"last_epoch": steps, "_step_count": steps + 1})
        for group, lr, factor in zip(optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True):
            group["lr"] = lr * factor(steps)
        self.notes, self.earlier = [float(note) for note in facts["notes"]], seconds
        return epoch

    def save(
        self, epoch: int, network: nn.Module, optimizer: Optimizer, schedule: LambdaLR, generators: Generators
    ) -> None:
        """Write a checkpoint after an epoch, unless taking its notes has failed. A disk that cannot be written stops no
        training."""
        if not self._is_noted:
            return
        tensors = {f"network.{name}": value for name, value in network.state_dict().items()}
        tensors |= optimizer_tensors("optimizer", optimizer)
        tensors |= {name: generator.get_state() for name, generator in _named(generators).items()}
        spent = self.earlier + time.monotonic() - self._started
        facts = json.dumps({"epoch": epoch, "steps": schedule.last_epoch, "seconds": spent, "notes": self.notes})
        tensors = {name: to_host(value).contiguous() for name, value in tensors.items()}
        with best_effort():
            write_tensors(self.path, tensors, {FACTS: facts, "checksum": _checksum(tensors, facts)})
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is old enough for another one."""
        return time.monotonic() - self._saved >= self.seconds

    def finish(self) -> None:
        """Remove the checkpoint of a finished training."""
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


def _named(generators: Generators) -> dict[str, Generator]:
    """The generators by their names in the file."""
    if isinstance(generators, Generator):
        return {"generator": generators}
    return {f"generator.{i}": one for i, one in enumerate(generators)}


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the facts of a checkpoint.

    Raises:
        OSError, SafetensorError, ValueError, KeyError: if the file is missing or damaged.
    """
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    if metadata["checksum"] != _checksum(tensors, metadata[FACTS]):
        raise ValueError("damaged")
    return tensors, dict(json.loads(metadata[FACTS]))


def _checksum(tensors: Mapping[str, Tensor], facts: str) -> str:
    # With a leading axis: the counters of BatchNorm and AdamW have no axes.
    return content_hash(facts, *(part for name in sorted(tensors) for part in (name, tensors[name][None])))


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
    """Load the stored per-tensor state; hyper-parameters stay those the optimizer was built with."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        if key.startswith(f"{name}."):
            _, index, entry = key.rsplit(".", 2)
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
