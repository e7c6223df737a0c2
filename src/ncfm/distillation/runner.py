"""Running a method: iterations played, measured, saved, resumed and stopped, whatever an iteration is.

A method is a `Step`: `MinMaxStep` matches distributions, `TrajectoryStep` matches training trajectories. What they
share is here.
"""

from __future__ import annotations

import contextlib
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from ncfm._utils.checks import NcfmError, NcfmFailure
from ncfm._utils.device import give_back_memory, is_out_of_memory, measure_peak_memory
from ncfm._utils.distributed import ALONE, LostRank, Ranks
from ncfm._utils.files import BackgroundTask, write_text
from ncfm.distillation.budget import Budget
from ncfm.distillation.checkpoint import Progress, Snapshot, load_state, take_snapshot
from ncfm.distillation.diagnosis import Spectrum, collapse
from ncfm.distillation.history import DIAGNOSIS_FILE, METRICS_FILE, History, Measured, as_lines, read_lines
from ncfm.distillation.loggers import MetricLogger
from ncfm.distillation.nonfinite_guard import Guard
from ncfm.distillation.snapshots import MOMENTS, Frame, cut_film, frame_images, write_frame
from ncfm.distillation.step_protocol import Record, Step
from ncfm.synthetic.synthetic_set import SyntheticSet

SMOOTHING = 0.98  # of the loss that early stopping looks at: a mean over about 50 iterations
MIN_GAIN = 1e-3  # relative improvement that counts


class Interrupted(NcfmError):
    """The run was asked to stop; its state is saved if it has a folder."""

    exit_code = 130  # as shells report a process that Ctrl-C ended


@dataclass(frozen=True)
class DistillResult:
    """What a distillation gives back."""

    synthetic: SyntheticSet
    start: SyntheticSet  # the undistilled start, for comparison
    iterations: int
    seconds: float  # of distilling, over all sittings
    stopped_early: bool
    history: list[dict[str, float]]  # the logged metrics
    images_per_pass: int | None  # with gradient; None if all went at once
    peak_memory_mb: float  # that iterations took beside what the process held before
    taken_back: int = 0  # iterations that were not finite

    @property
    def seconds_per_iteration(self) -> float:
        """Mean time of an iteration; NaN if there was none."""
        return self.seconds / self.iterations if self.iterations else math.nan


class Run:
    """A distillation under way: its step, its progress, and what is on disk.

    Args:
        step: the method.
        folder: where metrics and state are written; nothing is written if None.
        diagnose_every: iterations between two diagnoses, which go to `DIAGNOSIS_FILE`; None for none.
        late: read an iteration's measurements during the next one, by when a GPU has passed them.
        logger: told the metrics as they are logged, with time and memory; closed when `play` ends.
        ranks: who plays the iterations together. The first writes; when one asks to stop, all do.
        num_classes: that they share.
    """

    def __init__(
        self,
        step: Step,
        folder: Path | None,
        *,
        diagnose_every: int | None = None,
        late: bool = False,
        logger: MetricLogger | None = None,
        ranks: Ranks = ALONE,
        num_classes: int = 0,
    ) -> None:
        self.ranks, self.num_classes = ranks, num_classes
        self.step, self.folder, self.diagnose_every, self.late = step, folder, diagnose_every, late
        self.logger = logger
        self.progress = Progress()
        self.history = History()
        self.diagnoses: list[dict[str, Any]] = []
        self._frames: list[Frame] = []  # to be written
        self._moment = 0  # of the film
        self._guard = Guard(step, ranks)
        self._saved_at = 0  # iteration of the state that was saved last
        self._warned = False  # of the adversary
        self._peak: Callable[[], float] = lambda: 0.0  # memory taken since the iterations began
        self._costs: dict[str, float] = {}  # as they were last told
        self._writing = BackgroundTask()

    def save(self, *, wait: bool = True) -> None:
        """Write the metrics and the film, then the state that counts them; in the background unless told to wait."""
        self._log()
        self.progress.taken_back = int(self._guard.taken_back)
        self.progress.peak_memory_mb = max(self.progress.peak_memory_mb, self._peak())
        tensors = self.step.tensors()
        check_state(tensors, self.progress.iteration)
        self._watch_adversary()
        if self.folder is None:
            return
        snapshot = self._take_snapshot()
        self._saved_at = self.progress.iteration
        frames, self._frames = self._frames, []  # on all ranks: they meet for the frames that they have not
        if not self.ranks.is_main:
            return
        folder, texts = self.folder, {METRICS_FILE: as_lines(self.history.entries)}
        if self.diagnose_every is not None:
            texts[DIAGNOSIS_FILE] = as_lines(self.diagnoses)

        def write() -> None:
            for name, text in texts.items():
                write_text(folder / name, text)
            for frame in frames:
                write_frame(folder, frame)
            snapshot.write(folder)

        self._writing.start(write)
        if wait:
            self._writing.wait()

    def _take_snapshot(self) -> Snapshot:
        return take_snapshot(
            self.progress,
            self.step.tensors(),
            self.step.optimizers(),
            self.step.streams,
            ranks=self.ranks,
            num_classes=self.num_classes,
        )

    def images(self) -> Tensor:
        """All stored images (C, ipc, c, h, w), put together from all ranks."""
        return self.ranks.gather(self.step.tensors()["images"].detach(), self.num_classes)

    def resume(self) -> None:
        """Continue from the folder's state; metrics and frames after it are dropped, they will be made again."""
        if self.folder is None:
            raise NcfmError("resume needs the folder of an interrupted run (--out).")
        self.progress = load_state(
            self.folder,
            self.step.tensors(),
            self.step.optimizers(),
            self.step.streams,
            ranks=self.ranks,
            num_classes=self.num_classes,
        )
        self._saved_at = self.progress.iteration
        self._guard.taken_back += self.progress.taken_back
        if not self.ranks.is_main:
            return
        self.history.entries = read_lines(self.folder / METRICS_FILE, self.progress.iteration, mend=True)
        self.diagnoses = read_lines(self.folder / DIAGNOSIS_FILE, self.progress.iteration, mend=True)
        cut_film(self.folder, self.progress.iteration)

    def play(
        self,
        budget: Budget,
        *,
        checkpoint_seconds: float = 30.0,
        log_every: int = 10,
        on_iteration: Callable[[int, dict[str, float]], None] | None = None,
    ) -> None:
        """Play iterations until the budget is spent, nothing improves, or somebody asks to stop.

        Args:
            budget: how long.
            checkpoint_seconds: time between saved states.
            log_every: iterations between metrics.
            on_iteration: called after each iteration with its number and the last logged metrics, beside them
                ``seconds_per_iteration`` and ``memory_mb`` (see `costs`). It may ask to stop by raising `Interrupted`.

        Raises:
            Interrupted: on Ctrl-C or SIGTERM, or where ``on_iteration`` asks, after the running iteration was finished
                and its state saved.
            NcfmFailure: for too many iterations that are not finite, memory that does not suffice for single images, or
                a rank that is lost.
        """
        try:
            self._play(budget, checkpoint_seconds, log_every, on_iteration)
        except LostRank as lost:
            said = "Nothing was saved" if self.folder is None or not self._saved_at else f"{self.folder} has the state"
            raise NcfmFailure(
                f"{lost} {said} of iteration {self._saved_at}: run the same command with --resume to go on from there, "
                "with as many ranks as you like."
            ) from lost
        finally:
            give_back_memory(self.step.tensors()["images"].device)  # nothing else of a run takes as much

    def _play(
        self,
        budget: Budget,
        checkpoint_seconds: float,
        log_every: int,
        on_iteration: Callable[[int, dict[str, float]], None] | None,
    ) -> None:
        """`play`, whatever becomes of the others."""
        progress = self.progress
        self._peak = measure_peak_memory(self.step.tensors()["images"].device)
        began, saved = time.perf_counter() - progress.seconds, time.perf_counter()
        self._moment = budget.moment(progress, MOMENTS - 1)
        if progress.iteration == 0:
            if self.folder is not None and self.ranks.is_main:
                cut_film(self.folder, -1)  # of a run whose state was taken away
            self._shoot()
            self._watch_adversary()
        closing = contextlib.nullcontext() if self.logger is None else contextlib.closing(self.logger)
        with stop_requests() as asked, contextlib.closing(self._writing), closing:
            while not budget.is_spent(progress) and not budget.has_stalled(progress):
                for group in self.step.optimizers()["images_optimizer"].param_groups:
                    group["lr"] = budget.lr_at(progress)
                record = self._step_that_fits()
                progress.iteration += 1
                now = time.perf_counter()
                stopping, saving, progress.seconds = self._agree(
                    asked.is_set(), now - saved > checkpoint_seconds, now - began
                )
                self._observe(record, budget, log_every)
                if on_iteration is not None:
                    told = self.history.entries[-1] if self.history.entries else self._measure(record).entry()
                    try:
                        on_iteration(progress.iteration, told | self._costs)
                    except Interrupted:
                        asked.set()
                if stopping or (self.ranks.is_single and asked.is_set()):
                    self.save()
                    raise Interrupted(_stopped_message(progress, budget, self.folder))
                if saving:
                    self.save(wait=False)
                    saved = time.perf_counter()
            self._shoot()
            self.save()
        if progress.taken_back:
            warnings.warn(
                f"{progress.taken_back} of {progress.iteration} iterations were not finite and were taken back.",
                stacklevel=2,
            )

    def _observe(self, record: Record, budget: Budget, log_every: int) -> None:
        """Film, measure, diagnose and log what the last iteration came to, as far as each is due."""
        iteration, last = self.progress.iteration, budget.is_spent(self.progress)
        if budget.early_stop_patience is not None:
            self._watch(float(next(iter(record._asdict().values()))))  # waits for the device
        before, self._moment = self._moment, budget.moment(self.progress, MOMENTS - 1)
        if self._moment != before:
            self._shoot()
        if iteration % log_every == 0 or iteration == 1 or last:
            self.history.add(self._measure(record))
        if self.diagnose_every is not None and (iteration % self.diagnose_every == 0 or last):
            self._diagnose()
        # A GPU is read an iteration later: by then it has passed what is read, and nobody waits.
        self._log(before=iteration if self.late and not last else None, last=last)

    def _agree(self, asked: bool, due: bool, seconds: float) -> tuple[bool, bool, float]:
        """Whether to stop, which any rank may ask for, whether to save, and the time: both by the first one's clock."""
        if self.ranks.is_single:
            return asked, due, seconds
        first = float(self.ranks.is_main)
        (told,) = self.ranks.sum([torch.tensor([float(asked), first * due, first * seconds], dtype=torch.float64)])
        stopping, saving, time_spent = told.tolist()
        return stopping > 0, saving > 0, time_spent

    def _step_that_fits(self) -> Record:
        """Play an iteration; if memory does not suffice, the same one again in smaller passes.

        The same draws are made again. Only moves that the adversary had made before memory ran out (with more ascents
        than one) are not taken back.

        Raises:
            NcfmFailure: if not even single images fit.
        """
        state = self.step.streams.state()
        while True:
            try:
                return self._guard()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not self.step.can_be_repeated:
                    raise NcfmFailure(
                        "Not enough memory for an iteration, and ranks that meet several times in it cannot play it "
                        "again; start with smaller passes (--set machine.gradient_chunk_size=N), or with more ranks."
                    ) from error
                if not self.step.halve_chunks():
                    raise NcfmFailure(
                        "Not enough memory for an iteration, not even in passes of one image; lower ipc, "
                        "distill.real_batch_per_class or frequencies.number."
                    ) from error
            # Outside the except clause: the error's traceback keeps the failed pass alive.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.step.streams.load_state(state)
            warnings.warn(
                f"Out of memory in iteration {self.progress.iteration + 1}; going on with passes of "
                f"{self.step.images_per_pass} images.",
                stacklevel=2,
            )

    def _shoot(self) -> None:
        """Take a frame of the film, unless there is one of this iteration."""
        iteration = self.progress.iteration
        if self.folder is None or iteration in [frame.iteration for frame in self._frames]:
            return
        self._frames.append(Frame(iteration, frame_images(self.images())))

    def _diagnose(self) -> None:
        found = self.step.diagnose()
        if found is not None:
            self.diagnoses.append({"iteration": self.progress.iteration, **found.as_dict()})

    def _log(self, before: int | None = None, *, last: bool = False) -> None:
        """Turn what was measured (before an iteration) into metrics, and tell the logger."""
        for entry in self.history.read(before, last=last):
            self._costs = self.costs()
            if self.logger is not None:
                metrics = {name: value for name, value in entry.items() if name != "iteration"}
                self.logger.log(int(entry["iteration"]), metrics | self._costs)

    def _measure(self, record: Record) -> Measured:
        """What the last iteration measured, to be read later."""
        return Measured(self.progress.iteration, self.progress.seconds, record, self._guard.in_a_row)

    def costs(self) -> dict[str, float]:
        """Seconds of an iteration, a mean since the metrics before the last ones, and the peak of memory in MiB that
        iterations have taken beside what the process held when they began."""
        memory = max(self.progress.peak_memory_mb, self._peak())
        return {"seconds_per_iteration": self.history.seconds_per_iteration, "memory_mb": memory}

    def _watch_adversary(self) -> None:
        """Compare the adversary's frequencies with those of the start, and warn once if they have collapsed."""
        now, p = self.step.spectrum(), self.progress
        if now is None:
            return
        if p.spectrum is None:
            p.spectrum = list(now)
        wrong = collapse(Spectrum(*p.spectrum), now)
        if wrong and not self._warned:
            self._warned = True
            warnings.warn(
                f"The adversary has collapsed by iteration {p.iteration}: {wrong}. What it finds is no longer worth "
                "matching; lower distill.adversary_lr, or bound it (frequencies.spread, frequencies.fixed_bandwidth).",
                stacklevel=2,
            )

    def _watch(self, loss: float) -> None:
        """Follow the smoothed loss for early stopping."""
        if not math.isfinite(loss):
            return
        p = self.progress
        p.smoothed = loss if p.smoothed is None else SMOOTHING * p.smoothed + (1 - SMOOTHING) * loss
        if p.best is None or p.smoothed < p.best * (1 - MIN_GAIN):
            p.best, p.best_iteration = p.smoothed, p.iteration


def check_state(tensors: dict[str, Tensor], iteration: int) -> None:
    """Refuse to go on with, or to save, pixels or adversary weights that are not finite.

    Raises:
        NcfmFailure: naming the tensor; the state saved before is untouched.
    """
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise NcfmFailure(
                f"After iteration {iteration} {name} has values that are not finite; the state saved before is kept. "
                "Lower image_lr or adversary_lr, or use --set machine.precision=float32."
            )


def _stopped_message(progress: Progress, budget: Budget, folder: Path | None) -> str:
    of = f"of {budget.iterations}" if budget.seconds is None else f"({progress.seconds:.0f} of {budget.seconds:.0f} s)"
    done = f"Stopped after iteration {progress.iteration} {of}. "
    if folder is None:
        return done + "Nothing was saved, since the run has no folder (--out)."
    return done + f"The state is saved in {folder}."


@contextlib.contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that an iteration is never cut in the middle; a second one cuts."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may handle signals
        return

    def ask(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
