"""Callbacks that write the run folder: metrics, diagnoses, snapshots and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ncfm._utils.checks import RunError
from ncfm._utils.files import BackgroundTask, write_text
from ncfm.distillation.callback import Callback
from ncfm.distillation.checkpoint import take_checkpoint
from ncfm.distillation.history import DIAGNOSIS_FILE, METRICS_FILE, as_lines, read_lines
from ncfm.distillation.snapshots import MAX_SNAPSHOTS, Snapshot, remove_snapshots, snapshot_images, write_snapshot
from ncfm.distillation.step_protocol import Record

if TYPE_CHECKING:
    from ncfm.distillation.runner import Run


class MetricsFile(Callback):
    """Measures every ``every`` iterations, the first and the last one, and writes the metrics."""

    def __init__(self, every: int) -> None:
        self._every = every

    def on_start(self, run: Run) -> None:
        """Keep the entries of a resumed run up to its checkpoint."""
        run.history.entries = _entries_to_keep(run, METRICS_FILE, run.history.entries)

    def after_iteration(self, run: Run, record: Record) -> None:
        """Measure if it is due."""
        iteration = run.progress.iteration
        if iteration % self._every == 0 or iteration == 1 or run.is_over:
            run.history.add(run.measured(record))

    def on_save(self, run: Run, folder: Path) -> None:
        """Queue the file."""
        run.write_later(partial(write_text, folder / METRICS_FILE, as_lines(run.history.entries)))


class DiagnosisFile(Callback):
    """Diagnoses the adversary every ``every`` iterations and after the last one, and writes the diagnoses."""

    def __init__(self, every: int | None) -> None:
        self._every = every
        self._entries: list[dict[str, Any]] = []

    def on_start(self, run: Run) -> None:
        """Keep the entries of a resumed run up to its checkpoint."""
        self._entries = _entries_to_keep(run, DIAGNOSIS_FILE, self._entries)

    def after_iteration(self, run: Run, record: Record) -> None:
        """Diagnose if it is due."""
        iteration = run.progress.iteration
        if self._every is None or (iteration % self._every and not run.is_over):
            return
        diagnosis = run.step.diagnose()
        if diagnosis is not None:
            self._entries.append({"iteration": iteration, **diagnosis.as_dict()})

    def on_save(self, run: Run, folder: Path) -> None:
        """Queue the file."""
        if self._every is not None:
            run.write_later(partial(write_text, folder / DIAGNOSIS_FILE, as_lines(self._entries)))


def _entries_to_keep(run: Run, name: str, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The entries on disk up to the checkpoint of a resumed run, which only the first rank needs; else those given."""
    folder = run.control.resumed_folder
    if folder is None or not run.ranks.is_main:
        return entries
    return read_lines(folder / name, run.progress.iteration, mend=True)


class TakeSnapshots(Callback):
    """Takes the snapshots of a run, and writes them with its checkpoints."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._taken: list[Snapshot] = []  # to be written
        self._share = 0  # of the budget, in equal parts between two snapshots

    def on_start(self, run: Run) -> None:
        """Remove snapshots that are later than the checkpoint, and take the first one."""
        self._share = run.budget.moment(run.progress, MAX_SNAPSHOTS - 1)
        iteration = run.progress.iteration
        if run.ranks.is_main:  # without a checkpoint, all snapshots are of a run whose checkpoint was deleted
            remove_snapshots(self._folder, after=iteration if iteration else -1)
        if iteration == 0:
            self._take(run)

    def after_iteration(self, run: Run, record: Record) -> None:
        """Take a snapshot where another equal part of the budget is spent."""
        before, self._share = self._share, run.budget.moment(run.progress, MAX_SNAPSHOTS - 1)
        if self._share != before:
            self._take(run)

    def on_save(self, run: Run, folder: Path) -> None:
        """Queue the snapshots that are not yet written."""
        for snapshot in self._taken:
            run.write_later(partial(write_snapshot, folder, snapshot))
        self._taken = []

    def on_end(self, run: Run) -> None:
        """Take the last one."""
        self._take(run)

    def _take(self, run: Run) -> None:
        """Take a snapshot of the last iteration, unless there is one."""
        iteration = run.progress.iteration
        if iteration not in [snapshot.iteration for snapshot in self._taken]:
            self._taken.append(Snapshot(iteration, snapshot_images(run.images())))


class Checkpointing(Callback):
    """Writes checkpoints, and the files queued before each of them, in the background.

    Args:
        seconds: between two checkpoints.
    """

    def __init__(self, seconds: float) -> None:
        self.iteration = 0  # of the last checkpoint
        self._seconds = seconds
        self._saved_at = time.perf_counter()
        self._queue: list[Callable[[], None]] = []  # written before the next checkpoint
        self._writing = BackgroundTask()

    def is_due(self, now: float) -> bool:
        """Whether the last checkpoint is old enough for another one, by `time.perf_counter`."""
        return now - self._saved_at > self._seconds

    def queue(self, write: Callable[[], None]) -> None:
        """Let a function write its file before the next checkpoint is written."""
        self._queue.append(write)

    def on_start(self, run: Run) -> None:
        """Start the clock."""
        self._saved_at = time.perf_counter()

    def before_save(self, run: Run) -> None:
        """Check that the checkpoint will be finite."""
        check_finite_tensors(run.step.tensors(), run.progress.iteration)

    def on_save(self, run: Run, folder: Path) -> None:
        """Copy everything that the run needs to continue, and let the first rank write it."""
        step = run.step
        checkpoint = take_checkpoint(
            run.progress,
            step.tensors(),
            step.optimizers(),
            step.streams,
            ranks=run.ranks,
            num_classes=run.num_classes,
        )
        self.iteration = run.progress.iteration
        queue, self._queue = self._queue, []

        def write() -> None:
            for write_file in queue:
                write_file()
            checkpoint.write(folder)

        if run.ranks.is_main:
            self._writing.start(write)
        self._saved_at = time.perf_counter()

    def wait(self) -> None:
        """Return when all files are written.

        Raises:
            RunError: if one could not be written.
        """
        self._writing.wait()

    def close(self) -> None:
        """Wait, and end the thread."""
        self._writing.close()


def check_finite_tensors(tensors: dict[str, Tensor], iteration: int) -> None:
    """Refuse to save images or adversary weights that are not finite.

    Raises:
        RunError: naming the tensor; the checkpoint saved before is unchanged.
    """
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise RunError(
                f"After iteration {iteration} {name} has values that are not finite; the state saved before is kept. "
                "Lower image_lr or adversary_lr, or use --set machine.precision=float32."
            )
