"""The state of a run on disk: one safetensors file that holds everything to go on, bit for bit."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from ncfm._checks import NcfmError
from ncfm._files import read_tensors, write_tensors
from ncfm._seeding import Streams

STATE_FILE = "state.safetensors"
FORMAT = "ncfm-state-1"


@dataclass
class Progress:
    """How far a run is; the part of its state that is plain numbers."""

    iteration: int = 0  # iterations finished
    seconds: float = 0.0  # time spent on them, over all sittings
    smoothed: float | None = None  # running mean of the discrepancy
    best: float | None = None  # lowest smoothed value so far
    best_iteration: int = 0
    peak_memory_mb: float = 0.0  # that iterations took beside what the process held before, over all sittings


@dataclass(frozen=True)
class Snapshot:
    """A copy of a run's state on the CPU: what is written while the run goes on."""

    tensors: dict[str, Tensor]
    progress: str

    def write(self, folder: Path) -> None:
        """Write the state in one file, atomically: progress, images, adversary, optimizers and generators together.

        One file, because two could come from different iterations when a process is killed between them.
        """
        write_tensors(folder / STATE_FILE, self.tensors, {"format": FORMAT, "progress": self.progress})


def take_snapshot(
    progress: Progress, tensors: dict[str, Tensor], optimizers: dict[str, Optimizer], streams: Streams
) -> Snapshot:
    """Copy everything that a run needs to go on."""
    named = dict(tensors)
    for name, optimizer in optimizers.items():
        named |= _flatten(name, optimizer)
    named |= {f"stream.{name}": value for name, value in streams.state().items()}
    copies = {name: torch.empty_like(value, device="cpu").copy_(value.detach()) for name, value in named.items()}
    return Snapshot(copies, json.dumps(asdict(progress)))


def load_state(
    folder: Path, tensors: dict[str, Tensor], optimizers: dict[str, Optimizer], streams: Streams
) -> Progress:
    """Continue from a saved state: fill the tensors in place, restore optimizers and generators.

    Raises:
        NcfmError: if the file is missing, damaged, of another format, or of a run of another shape.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise NcfmError(
            f"Nothing to resume: {folder} has no {STATE_FILE}. Start without --resume, or name the folder of an "
            "interrupted run."
        )
    stored = read_tensors(path)
    progress = Progress(**_progress(path))
    for name, tensor in tensors.items():
        if name not in stored or stored[name].shape != tensor.shape:
            found = tuple(stored[name].shape) if name in stored else "nothing"
            raise NcfmError(f"{path}: expected {name} of shape {tuple(tensor.shape)}, found {found}: another run's.")
        tensor.detach().copy_(stored[name])
    ours = tuple(f"{name}." for name in ("stream", *optimizers))
    foreign = [name for name in stored if name not in tensors and not name.startswith(ours)]
    if foreign:
        raise NcfmError(f"{path} is of another run: it has {foreign[0]}, which this one has not.")
    for name, optimizer in optimizers.items():
        _restore(name, optimizer, stored)
    streams.load_state({k.removeprefix("stream."): v for k, v in stored.items() if k.startswith("stream.")})
    return progress


def _progress(path: Path) -> dict[str, Any]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise NcfmError(f"Could not read {path}: {error}.") from error
    if metadata.get("format") != FORMAT:
        raise NcfmError(f"{path} is not a state of this program (expected format {FORMAT!r}).")
    progress: dict[str, Any] = json.loads(metadata["progress"])
    return progress


def _flatten(name: str, optimizer: Optimizer) -> dict[str, Tensor]:
    """An optimizer's per-tensor state as named tensors: ``name.<tensor index>.<key>``."""
    state = optimizer.state_dict()["state"]
    return {
        f"{name}.{index}.{key}": value
        for index, entry in state.items()
        for key, value in entry.items()
        if isinstance(value, Tensor)
    }


def _restore(name: str, optimizer: Optimizer, stored: dict[str, Tensor]) -> None:
    """Put the stored per-tensor state back; hyper-parameters stay those the optimizer was built with."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in stored.items():
        if key.startswith(f"{name}."):
            _, index, entry = key.rsplit(".", 2)
            state.setdefault(int(index), {})[entry] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
