"""A run: it repeats the iterations of a method until the budget is spent. All else is done by callbacks.

A method is a `Step`: `MinMaxStep` matches distributions, `TrajectoryStep` matches training trajectories.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from ncfm._utils.checks import RunError
from ncfm._utils.device import give_back_memory, measure_peak_memory
from ncfm._utils.distributed import ALONE, LostRank, Ranks
from ncfm._utils.progress import counted
from ncfm.distillation.budget import Budget
from ncfm.distillation.callback import Callback
from ncfm.distillation.callbacks import (
    AdversaryWatch,
    EarlyStopping,
    MetricsLogging,
    PlateauSchedule,
    ProgressReport,
)
from ncfm.distillation.checkpoint import Progress, load_checkpoint
from ncfm.distillation.control import RunControl
from ncfm.distillation.history import History, Measured
from ncfm.distillation.interruption import Interrupted, stop_requests
from ncfm.distillation.memory_retry import run_within_memory
from ncfm.distillation.nonfinite_guard import Guard
from ncfm.distillation.result import DistillResult
from ncfm.distillation.run_files import Checkpointing, DiagnosisFile, MetricsFile, TakeSnapshots
from ncfm.distillation.step_protocol import Record, Step
from ncfm.synthetic.synthetic_set import SyntheticSet


class Run:
    """A distillation in progress.

    Args:
        step: the method.
        control: where it writes, how often, and who is informed.
        late: read an iteration's measurements during the next one, when a GPU has computed them.
        ranks: the processes that run the iterations together. The first writes; if one is asked to stop, all do.
        num_classes: number of classes that the ranks share.
    """

    budget: Budget  # of `play`

    def __init__(
        self, step: Step, control: RunControl, *, late: bool = False, ranks: Ranks = ALONE, num_classes: int = 0
    ) -> None:
        self.step, self.control, self.ranks, self.num_classes = step, control, ranks, num_classes
        self.progress, self.history, self.guard = Progress(), History(), Guard(step, ranks)
        self._checkpointing = Checkpointing(control.checkpoint_seconds)
        self._callbacks = self._all_callbacks(late)
        self._stop = threading.Event()
        self._peak: Callable[[], float] = lambda: 0.0  # MiB used since the iterations began
        self._began = 0.0  # by `time.perf_counter`, as if the run had never been interrupted

    def _all_callbacks(self, late: bool) -> tuple[Callback, ...]:
        """All callbacks. The user's see the metrics of an iteration, and their files precede the checkpoint."""
        control = self.control
        logging = MetricsLogging(control.logger, late=late)
        callbacks = [
            EarlyStopping(),
            PlateauSchedule(),
            MetricsFile(control.log_every),
            DiagnosisFile(control.diagnose_every),
        ]
        if control.folder is not None:
            callbacks.append(TakeSnapshots(control.folder))
        callbacks.append(logging)
        if control.on_iteration is not None:
            callbacks.append(ProgressReport(control.on_iteration, logging))
        return (*callbacks, *control.callbacks, self._checkpointing, AdversaryWatch())

    # --- for callbacks ---

    def images(self) -> Tensor:
        """All stored images (C, ipc, c, h, w), gathered from all ranks: every rank must call it."""
        return self.ranks.gather(self.step.tensors()["images"].detach(), self.num_classes)

    def measured(self, record: Record) -> Measured:
        """The measurements of the last iteration, to be read later."""
        return Measured(self.progress.iteration, self.progress.seconds, record, self.guard.in_a_row)

    @property
    def is_over(self) -> bool:
        """Whether no iteration follows: the budget is spent, or nothing improves."""
        return self.budget.is_spent(self.progress) or self.budget.has_stalled(self.progress)

    def request_stop(self) -> None:
        """Stop after the running iteration as on Ctrl-C: save the checkpoint and raise `Interrupted`."""
        self._stop.set()

    def write_later(self, write: Callable[[], None]) -> None:
        """Call a function in the background before the next checkpoint is written; on the first rank only.

        A file written so is never older than the checkpoint. A run without a folder does not call it.
        """
        if self.control.folder is not None and self.ranks.is_main:
            self._checkpointing.queue(write)

    @property
    def peak_memory_mb(self) -> float:
        """Peak memory of the iterations in MiB, in addition to what the process held before them."""
        return max(self.progress.peak_memory_mb, self._peak())

    def costs(self) -> dict[str, float]:
        """``seconds_per_iteration``, a mean between the last two entries of the metrics, and ``memory_mb``."""
        return {"seconds_per_iteration": self.history.seconds_per_iteration, "memory_mb": self.peak_memory_mb}

    def save(self, *, wait: bool = True) -> None:
        """Save a checkpoint and the files that belong to it; in the background if ``wait`` is False."""
        for callback in self._callbacks:
            callback.before_save(self)
        if self.control.folder is None:
            return
        for callback in self._callbacks:
            callback.on_save(self, self.control.folder)
        if wait:
            self._checkpointing.wait()

    # --- iterations ---

    def play(self, budget: Budget) -> None:
        """Run iterations until the budget is spent, nothing improves, or the run is asked to stop.

        Raises:
            Interrupted: on Ctrl-C or SIGTERM, or where a callback asks, after the running iteration was finished and
                its checkpoint saved.
            NcfmError: if there is no checkpoint to resume from, or it is of another run.
            RunError: for too many iterations that are not finite, memory that does not suffice for single images,
                or a lost rank.
        """
        self.budget, self._stop = budget, threading.Event()
        if self.control.resumed_folder is not None:
            self._resume(self.control.resumed_folder)
        try:
            self._play()
        except LostRank as lost:
            raise RunError(f"{lost} {self._after_lost_rank()}") from lost
        finally:
            give_back_memory(self.step.tensors()["images"].device)  # nothing else of a run uses as much

    def result(self, synthetic: SyntheticSet, start: SyntheticSet) -> DistillResult:
        """The result of the finished run, with the set and the one before the first iteration."""
        return DistillResult(
            synthetic=synthetic,
            start=start,
            iterations=self.progress.iteration,
            seconds=self.progress.seconds,
            stopped_early=not self.budget.is_spent(self.progress),
            history=self.history.entries,
            images_per_pass=self.step.images_per_pass,
            peak_memory_mb=self.progress.peak_memory_mb,
            rolled_back=self.progress.rolled_back,
        )

    def _resume(self, folder: Path) -> None:
        """Continue from the checkpoint of a folder."""
        self.progress = load_checkpoint(
            folder,
            self.step.tensors(),
            self.step.optimizers(),
            self.step.streams,
            ranks=self.ranks,
            num_classes=self.num_classes,
        )
        self._checkpointing.iteration = self.progress.iteration
        self.guard.rolled_back += self.progress.rolled_back

    def _play(self) -> None:
        progress = self.progress
        self._peak = measure_peak_memory(self.step.tensors()["images"].device)
        self._began = time.perf_counter() - progress.seconds
        for callback in self._callbacks:
            callback.on_start(self)
        with stop_requests(self._stop), self._closing():
            while not self.is_over:
                self._iterate()
            for callback in self._callbacks:
                callback.on_end(self)
            self.save()
        if progress.rolled_back:
            warnings.warn(
                f"{progress.rolled_back} of {counted(progress.iteration, 'iteration')} were not finite and were "
                "rolled back.",
                stacklevel=2,
            )

    def _iterate(self) -> None:
        """Run one iteration, and all that follows from it."""
        for group in self.step.optimizers()["images_optimizer"].param_groups:
            group["lr"] = self.budget.lr_at(self.progress)
        record = run_within_memory(self.step, self.guard, self.progress.iteration + 1)
        self.progress.iteration += 1
        stopping, saving = self._agree()
        for callback in self._callbacks:
            callback.after_iteration(self, record)
        if stopping or (self.ranks.is_single and self._stop.is_set()):
            self.save()
            raise Interrupted(_stopped_message(self.progress, self.budget, self.control.folder))
        if saving:
            self.save(wait=False)

    def _agree(self) -> tuple[bool, bool]:
        """Whether all ranks stop, and whether they save; sets the seconds of the run.

        Any rank may ask to stop. Seconds and the time of saving are by the clock of the first rank.
        """
        now = time.perf_counter()
        stopping, saving = self._stop.is_set(), self._checkpointing.is_due(now)
        self.progress.seconds = now - self._began
        if self.ranks.is_single:
            return stopping, saving
        first = float(self.ranks.is_main)
        votes = torch.tensor([float(stopping), first * saving, first * self.progress.seconds], dtype=torch.float64)
        stops, saves, self.progress.seconds = self.ranks.sum([votes])[0].tolist()
        return stops > 0, saves > 0

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        """Close all callbacks in their order at the end, even if closing one of them fails."""
        with contextlib.ExitStack() as stack:
            for callback in reversed(self._callbacks):
                stack.callback(callback.close)
            yield

    def _after_lost_rank(self) -> str:
        """How to continue, for a message."""
        saved, folder = self._checkpointing.iteration, self.control.folder
        place = "Nothing was saved" if folder is None or not saved else f"{folder} has the state"
        return (
            f"{place} of iteration {saved}: run the same command with --resume to go on from there, "
            "with as many ranks as you like."
        )


def _stopped_message(progress: Progress, budget: Budget, folder: Path | None) -> str:
    of = f"of {budget.iterations}" if budget.seconds is None else f"({progress.seconds:.0f} of {budget.seconds:.0f} s)"
    done = f"Stopped after iteration {progress.iteration} {of}. "
    if folder is None:
        return done + "Nothing was saved, since the run has no folder (--out)."
    return done + f"The state is saved in {folder}."
