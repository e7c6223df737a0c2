"""The state of a run on disk: one safetensors file that holds everything to go on, bit for bit, and the one before it.

A state has a checksum of its content. One that is damaged is set aside, and the run goes on from the one before.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from ncfm._utils.checks import NcfmError, NcfmFailure
from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.files import content_hash, read_tensors, write_tensors
from ncfm._utils.seeding import Streams
from ncfm.training.checkpoint import optimizer_tensors, restore_optimizer

STATE_FILE, STATE_BEFORE_FILE = "state.safetensors", "state-before.safetensors"
DAMAGED = ".damaged"  # appended to the name of a state that is set aside
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
    taken_back: int = 0  # iterations that were not finite, see `Guard`
    spectrum: list[float] | None = (
        None  # of the adversary's frequencies at the start, see `ncfm.distillation.diagnosis.spectrum`
    )


@dataclass(frozen=True)
class Snapshot:
    """A copy of a run's state on the CPU: what is written while the run goes on."""

    tensors: dict[str, Tensor]
    progress: str

    def write(self, folder: Path) -> None:
        """Write the state in one file, atomically: progress, images, adversary, optimizers and generators together.

        One file, because two could come from different iterations when a process is killed between them. The state
        that was there is kept as the one before.
        """
        metadata = {"format": FORMAT, "progress": self.progress, "checksum": _checksum(self.tensors, self.progress)}
        write_tensors(folder / STATE_FILE, self.tensors, metadata, before=folder / STATE_BEFORE_FILE)


def has_state(folder: Path) -> bool:
    """Whether a folder has a state to go on from."""
    return any((folder / name).is_file() for name in (STATE_FILE, STATE_BEFORE_FILE))


def is_by_class(name: str, value: Tensor) -> bool:
    """Whether ranks share a tensor of the state out: images, their moments and an objective's memory have the classes
    as their first axis; the adversary and all counters are the same everywhere."""
    return value.ndim > 0 and name.split(".")[0] in ("images", "images_optimizer", "memory")


def take_snapshot(
    progress: Progress,
    tensors: dict[str, Tensor],
    optimizers: dict[str, Optimizer],
    streams: Streams,
    *,
    ranks: Ranks = ALONE,
    num_classes: int = 0,
) -> Snapshot:
    """Copy everything that a run needs to go on; of several ranks what they share out is put together first."""
    named = dict(tensors)
    for name, optimizer in optimizers.items():
        named |= optimizer_tensors(name, optimizer)
    if not ranks.is_single:
        named |= {n: ranks.gather(value, num_classes) for n, value in named.items() if is_by_class(n, value)}
    named |= {f"stream.{name}": value for name, value in streams.state().items()}
    copies = {name: torch.empty_like(value, device="cpu").copy_(value.detach()) for name, value in named.items()}
    return Snapshot(copies, json.dumps(asdict(progress)))


def load_state(
    folder: Path,
    tensors: dict[str, Tensor],
    optimizers: dict[str, Optimizer],
    streams: Streams,
    *,
    ranks: Ranks = ALONE,
    num_classes: int = 0,
) -> Progress:
    """Continue from a saved state: fill the tensors in place, restore optimizers and generators.

    A state is whole, however many ranks have written it; of several each takes the classes of its share. If the last
    state is damaged it gets another name, a warning tells so, and the state before it is used.

    Raises:
        NcfmError: if there is no state, or it is of another format or of a run of another shape; NcfmFailure if
            all that there are are damaged.
    """
    if not has_state(folder):
        raise NcfmError(
            f"Nothing to resume: {folder} has no {STATE_FILE}. Start without --resume, or name the folder of an "
            "interrupted run."
        )
    path, stored, progress = ranks.main_process_first(lambda: _read_last(folder))
    if not ranks.is_single:
        own = ranks.share(num_classes)
        stored = {n: value[own] if is_by_class(n, value) else value for n, value in stored.items()}
    for name, tensor in tensors.items():
        if name not in stored or stored[name].shape != tensor.shape:
            found = tuple(stored[name].shape) if name in stored else "nothing"
            raise NcfmError(f"{path}: expected {name} of shape {tuple(tensor.shape)}, found {found}: another run's.")
    ours = tuple(f"{name}." for name in ("stream", *optimizers))
    foreign = [name for name in stored if name not in tensors and not name.startswith(ours)]
    if foreign:
        raise NcfmError(f"{path} is of another run: it has {foreign[0]}, which this one has not.")
    for name, tensor in tensors.items():
        tensor.detach().copy_(stored[name])
    for name, optimizer in optimizers.items():
        restore_optimizer(name, optimizer, stored)
    streams.load_state({k.removeprefix("stream."): v for k, v in stored.items() if k.startswith("stream.")})
    return progress


def _read_last(folder: Path) -> tuple[Path, dict[str, Tensor], Progress]:
    """The last state that is whole.

    Raises:
        NcfmError: if it is of another format; NcfmFailure if none is whole.
    """
    broken: list[NcfmFailure] = []
    for path in (folder / name for name in (STATE_FILE, STATE_BEFORE_FILE)):
        if not path.is_file():
            continue
        try:
            stored, progress = _read(path)
        except NcfmFailure as error:
            broken.append(error)
            continue
        if broken:
            aside = folder / (STATE_FILE + DAMAGED)
            (folder / STATE_FILE).replace(aside)  # else it would become the one before the next
            warnings.warn(
                f"{broken[0]} It is kept as {aside.name}; going on from the state before it, after iteration "
                f"{progress.iteration}.",
                stacklevel=2,
            )
        return path, stored, progress
    raise NcfmFailure(f"{broken[0]} There is no whole state before it; start again in another folder (--out).")


def _read(path: Path) -> tuple[dict[str, Tensor], Progress]:
    """A state.

    Raises:
        NcfmError: if it is of another format; NcfmFailure if it is damaged.
    """
    stored = read_tensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise NcfmError(f"{path} is not a state of this program (expected format {FORMAT!r}).")
        # States of earlier versions have no checksum.
        if metadata.get("checksum", None) not in (None, _checksum(stored, metadata["progress"])):
            raise NcfmFailure(f"Could not read {path}: its content does not agree with its checksum; it is damaged.")
        return stored, Progress(**json.loads(metadata["progress"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise NcfmFailure(f"Could not read {path}: {error}. It is damaged.") from error


def _checksum(tensors: Mapping[str, Tensor], progress: str) -> str:
    """SHA-256 of names, tensors and progress."""
    return content_hash(progress, *(part for name in sorted(tensors) for part in (name, tensors[name])))
