"""Snapshots of a run: its images after a few iterations, as 8-bit values, to show later how they changed.

Snapshots are taken at equal shares of the budget, the start and the end included; an early stop is an end. A snapshot
is a function of its iteration, and snapshots are written before the checkpoint that comes after them. So a resumed run
has the snapshots of a run that never stopped.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ncfm._utils.checks import RunError
from ncfm._utils.files import read_tensors, write_tensors
from ncfm.data.levels import to_uint8

SNAPSHOTS_FOLDER = "film"  # its name since the first version
MAX_SNAPSHOTS = 12  # of a run
MAX_SNAPSHOT_BYTES = 2**20  # larger sets keep the first images of every class, or of the first classes


class Snapshot(NamedTuple):
    """The images after an iteration."""

    iteration: int
    images: Tensor  # (C', n, c, h, w) uint8: of the first C' classes the first n stored images


def snapshot_images(images: Tensor) -> Tensor:
    """The part of stored images (C, ipc, c, h, w) in [0, 1] that fits into `MAX_SNAPSHOT_BYTES`, as uint8."""
    classes, ipc = images.shape[:2]
    room = max(MAX_SNAPSHOT_BYTES // images[0, 0].numel(), 1)  # images
    shown = images.detach()[: min(classes, room), : min(ipc, max(room // classes, 1))]
    return to_uint8(shown).cpu()


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Write a snapshot into a run folder, atomically."""
    write_tensors(_path(folder, snapshot.iteration), {"images": snapshot.images})


def snapshot_iterations(folder: Path) -> list[int]:
    """The iterations whose snapshots a run folder has, ascending."""
    return sorted(int(path.stem) for path in (folder / SNAPSHOTS_FOLDER).glob("*.safetensors") if path.stem.isdigit())


def read_snapshots(folder: Path) -> list[Snapshot]:
    """All snapshots of a run folder in order; an empty list if it has none.

    Raises:
        RunError: if one is damaged, or has another shape than the first.
    """
    snapshots: list[Snapshot] = []
    for iteration in snapshot_iterations(folder):
        images = read_tensors(_path(folder, iteration)).get("images")
        if images is None or images.ndim != 5 or (snapshots and images.shape != snapshots[0].images.shape):
            raise RunError(f"{_path(folder, iteration)} is not a snapshot of this run; remove it.")
        snapshots.append(Snapshot(iteration, images))
    return snapshots


def remove_snapshots(folder: Path, after: int) -> None:
    """Remove the snapshots later than an iteration: they will be taken again."""
    for iteration in snapshot_iterations(folder):
        if iteration > after:
            _path(folder, iteration).unlink()


def _path(folder: Path, iteration: int) -> Path:
    return folder / SNAPSHOTS_FOLDER / f"{iteration:07d}.safetensors"
