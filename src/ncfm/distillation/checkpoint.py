"""The checkpoint of a run: one safetensors file with everything to continue bit for bit, and the one before it.

A checkpoint has a checksum of its content. A damaged one is set aside, and the run continues from the one before.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.optim import Optimizer

from ncfm._utils.accelerator import to_host
from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.files import content_hash, read_tensors, write_tensors
from ncfm._utils.seeding import Streams
from ncfm.training.checkpoint import optimizer_tensors, restore_optimizer

CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE = "state.safetensors", "state-before.safetensors"
DAMAGED = ".damaged"  # appended to the name of a checkpoint that is set aside
FORMAT = "ncfm-state-1"
LATER = {"plateau_best": None, "plateau_waited": 0, "plateau_factor": 1.0}
"""Fields that were added to `Progress`: they are written only where they differ from what they were before."""
KEYS_ON_DISK = {"rolled_back": "taken_back"}  # fields of `Progress` that have another name in the file


@dataclass
class Progress:
    """How far a run is: the plain numbers of its checkpoint."""

    iteration: int = 0  # iterations finished
    seconds: float = 0.0  # spent on them; a resumed run counts all its parts
    smoothed: float | None = None  # running mean of the discrepancy
    best: float | None = None  # lowest smoothed value so far
    best_iteration: int = 0
    peak_memory_mb: float = 0.0  # used by iterations, in addition to what the process held before them
    rolled_back: int = 0  # iterations that were not finite, see `Guard`
    spectrum: list[float] | None = None  # of the adversary's first frequencies, see `ncfm.distillation.diagnosis`
    plateau_best: float | None = None  # lowest discrepancy so far, for the schedule "plateau"
    plateau_waited: int = 0  # iterations since then, or since the learning rate was halved
    plateau_factor: float = 1.0  # of the learning rate

    def to_json(self) -> str:
        """The text in a checkpoint."""
        written = {name: value for name, value in asdict(self).items() if name not in LATER or value != LATER[name]}
        return json.dumps({KEYS_ON_DISK.get(name, name): value for name, value in written.items()})

    @classmethod
    def from_json(cls, text: str) -> Progress:
        """The progress of a checkpoint.

        Raises:
            ValueError or TypeError: if the text is not one.
        """
        names = {key: name for name, key in KEYS_ON_DISK.items()}
        stored: dict[str, Any] = dict(json.loads(text))
        return cls(**{names.get(key, key): value for key, value in stored.items()})


@dataclass(frozen=True)
class Checkpoint:
    """A copy on the CPU of everything that a run needs to continue, written while the run goes on."""

    tensors: dict[str, Tensor]
    progress: str  # `Progress.to_json`

    def write(self, folder: Path) -> None:
        """Write one file, atomically: progress, images, adversary, optimizers and generators together.

        With two files, a process killed between them would leave two different iterations. The file that was there
        becomes the previous checkpoint.
        """
        metadata = {"format": FORMAT, "progress": self.progress, "checksum": _checksum(self.tensors, self.progress)}
        write_tensors(folder / CHECKPOINT_FILE, self.tensors, metadata, before=folder / PREVIOUS_CHECKPOINT_FILE)


def has_checkpoint(folder: Path) -> bool:
    """Whether a folder has a checkpoint to continue from."""
    return any((folder / name).is_file() for name in (CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE))


def saved_progress(folder: Path) -> Progress:
    """How far the run in a folder with a checkpoint is.

    Raises:
        NcfmError: as `load_checkpoint`.
    """
    return _read_last(folder)[2]


def is_by_class(name: str, value: Tensor) -> bool:
    """Whether ranks share a tensor of the checkpoint by class.

    The first axis of images, of their optimizer's moments and of an objective's memory is the class. The adversary and
    all counters are the same on every rank.
    """
    return value.ndim > 0 and name.split(".")[0] in ("images", "images_optimizer", "memory")


def take_checkpoint(
    progress: Progress,
    tensors: dict[str, Tensor],
    optimizers: dict[str, Optimizer],
    streams: Streams,
    *,
    ranks: Ranks = ALONE,
    num_classes: int = 0,
) -> Checkpoint:
    """Copy everything that a run needs to continue. Tensors that ranks share by class are gathered first."""
    named = dict(tensors)
    for name, optimizer in optimizers.items():
        named |= optimizer_tensors(name, optimizer)
    if not ranks.is_single:
        named |= {n: ranks.gather(value, num_classes) for n, value in named.items() if is_by_class(n, value)}
    named |= {f"stream.{name}": value for name, value in streams.state().items()}
    return Checkpoint({name: to_host(value) for name, value in named.items()}, progress.to_json())


def load_checkpoint(
    folder: Path,
    tensors: dict[str, Tensor],
    optimizers: dict[str, Optimizer],
    streams: Streams,
    *,
    ranks: Ranks = ALONE,
    num_classes: int = 0,
) -> Progress:
    """Continue from a checkpoint: fill the tensors in place, restore optimizers and generators.

    A checkpoint holds all classes, whatever the number of ranks; each rank takes the classes of its share. A damaged
    checkpoint is renamed, with a warning, and the previous one is loaded.

    Raises:
        NcfmError: if there is no checkpoint, or it is of another format or of a run of another shape; RunError if
            all checkpoints are damaged.
    """
    if not has_checkpoint(folder):
        raise InputError(
            f"Nothing to resume: {folder} has no {CHECKPOINT_FILE}. Start without --resume, or name the folder of an "
            "interrupted run."
        )
    path, stored, progress = ranks.main_process_first(lambda: _read_last(folder))
    if not ranks.is_single:
        own = ranks.share(num_classes)
        stored = {n: value[own] if is_by_class(n, value) else value for n, value in stored.items()}
    _check_same_run(path, stored, tensors, optimizers)
    for name, tensor in tensors.items():
        tensor.detach().copy_(stored[name])
    for name, optimizer in optimizers.items():
        restore_optimizer(name, optimizer, stored)
    streams.load_state({k.removeprefix("stream."): v for k, v in stored.items() if k.startswith("stream.")})
    return progress


def _check_same_run(
    path: Path, stored: Mapping[str, Tensor], tensors: Mapping[str, Tensor], optimizers: Mapping[str, Optimizer]
) -> None:
    """Raise NcfmError if a checkpoint has other tensors than the run, or tensors of other shapes."""
    for name, tensor in tensors.items():
        if name not in stored or stored[name].shape != tensor.shape:
            found = tuple(stored[name].shape) if name in stored else "nothing"
            raise InputError(f"{path}: expected {name} of shape {tuple(tensor.shape)}, found {found}: another run's.")
    expected = tuple(f"{name}." for name in ("stream", *optimizers))
    unexpected = [name for name in stored if name not in tensors and not name.startswith(expected)]
    if unexpected:
        raise InputError(f"{path} is of another run: it has {unexpected[0]}, which this one has not.")


def _read_last(folder: Path) -> tuple[Path, dict[str, Tensor], Progress]:
    """The last checkpoint that is not damaged.

    Raises:
        NcfmError: if it is of another format; RunError if all are damaged.
    """
    errors: list[RunError] = []
    for path in (folder / name for name in (CHECKPOINT_FILE, PREVIOUS_CHECKPOINT_FILE)):
        if not path.is_file():
            continue
        try:
            stored, progress = _read(path)
        except RunError as error:
            errors.append(error)
            continue
        if errors:
            aside = folder / (CHECKPOINT_FILE + DAMAGED)
            (folder / CHECKPOINT_FILE).replace(aside)  # else the next checkpoint would keep it as the previous one
            warnings.warn(
                f"{errors[0]} It is kept as {aside.name}; resuming from the previous checkpoint, after iteration "
                f"{progress.iteration}.",
                stacklevel=2,
            )
        return path, stored, progress
    raise RunError(f"{errors[0]} There is no complete previous checkpoint; start again in another folder (--out).")


def _read(path: Path) -> tuple[dict[str, Tensor], Progress]:
    """The tensors and the progress of a checkpoint.

    Raises:
        NcfmError: if it is of another format; RunError if it is damaged.
    """
    stored = read_tensors(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise InputError(f"{path} is not a checkpoint of ncfm (expected format {FORMAT!r}).")
        # Checkpoints of earlier versions have no checksum.
        if metadata.get("checksum", None) not in (None, _checksum(stored, metadata["progress"])):
            raise RunError(f"Could not read {path}: its content does not agree with its checksum; it is damaged.")
        return stored, Progress.from_json(metadata["progress"])
    except NcfmError:  # InputError is a ValueError, too
        raise
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"Could not read {path}: {error}. It is damaged.") from error


def _checksum(tensors: Mapping[str, Tensor], progress: str) -> str:
    """SHA-256 of names, tensors and progress."""
    return content_hash(progress, *(part for name in sorted(tensors) for part in (name, tensors[name])))
