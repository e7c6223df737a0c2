"""Running a method: iterations played, measured, saved, resumed and stopped, whatever an iteration is.

A method is a `Step`: `MinMaxStep` matches distributions, `TrajectoryStep` matches training trajectories. What they
share is here.
"""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from ncfm._checks import NcfmError, NcfmFailure, check_at_least, check_known, check_positive
from ncfm._device import is_out_of_memory, measure_peak_memory
from ncfm._files import BackgroundTask, write_text
from ncfm._ranks import ALONE, LostRank, Ranks
from ncfm._seeding import Streams
from ncfm.diagnosis import Diagnosis, Spectrum, collapse
from ncfm.distillation.film import MOMENTS, Frame, cut_film, frame_images, write_frame
from ncfm.distillation.guard import PATIENCE, Guard, check_patience
from ncfm.distillation.state import Progress, Snapshot, load_state, take_snapshot
from ncfm.loggers import MetricLogger
from ncfm.synthetic import SyntheticSet
from ncfm.training import schedule_factor

METRICS_FILE, DIAGNOSIS_FILE = "metrics.jsonl", "diagnosis.jsonl"
IMAGE_SCHEDULES = ("constant", "cosine", "step", "fifths")
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


class Record(Protocol):
    """What an iteration measured: a NamedTuple of tensors (), the loss first; None for what it has not. To read them
    waits for the device."""

    def _asdict(self) -> dict[str, Any]: ...


class Step(Protocol):
    """A method: calling it plays one iteration."""

    streams: Streams

    @property
    def images_per_pass(self) -> int | None:
        """Synthetic images that a pass with gradient holds; None for all."""
        ...

    def __call__(self) -> Record:
        """Play one iteration."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that iterations change, by name: what a state holds beside optimizers and generators."""
        ...

    def optimizers(self) -> dict[str, Optimizer]:
        """All optimizers by name; ``images_optimizer`` follows the schedule."""
        ...

    def diagnose(self) -> Diagnosis | None:
        """Look at where the adversary looks; None if there is nothing of the kind."""
        ...

    def spectrum(self) -> Spectrum | None:
        """Of the adversary's frequencies; None if there is nothing of the kind."""
        ...

    def halve_chunks(self) -> bool:
        """After an allocation failed: smaller passes from now on. False if they cannot be smaller."""
        ...

    @property
    def can_be_repeated(self) -> bool:
        """Whether an iteration that memory did not suffice for can be played again; not if other ranks are past it."""
        ...


@dataclass(frozen=True)
class Budget:
    """How long a run lasts: iterations, or seconds where they are given; and its learning rate over that time."""

    iterations: int
    lr: float
    schedule: str = "constant"  # of `IMAGE_SCHEDULES`
    seconds: float | None = None  # over all sittings; takes the place of the iterations
    patience: int | None = None  # stop when the smoothed loss has not fallen by 0.1 % for so many iterations

    def __post_init__(self) -> None:
        check_at_least(self.iterations, 0, "iterations")
        check_known(self.schedule, IMAGE_SCHEDULES, "image schedule")
        if self.seconds is not None:
            check_positive(self.seconds, "seconds")

    def is_spent(self, progress: Progress) -> bool:
        """Whether all iterations are done, or the time is up."""
        if self.seconds is not None:
            return progress.seconds >= self.seconds
        return progress.iteration >= self.iterations

    def lr_at(self, progress: Progress) -> float:
        """The learning rate of the next iteration, by the share of the budget that is spent."""
        if self.seconds is not None:
            spent = min(progress.seconds / self.seconds, 1.0)
        else:
            spent = (progress.iteration + 0.5) / max(self.iterations, 1)
        return self.lr * schedule_factor(self.schedule, spent)

    def moment(self, progress: Progress, of: int) -> int:
        """How many of so many equal parts of the budget are spent, 0 .. of."""
        if self.seconds is not None:
            return min(int(of * progress.seconds / self.seconds), of)
        return of * progress.iteration // max(self.iterations, 1)

    def has_stalled(self, progress: Progress) -> bool:
        """Whether nothing has improved for too long."""
        return self.patience is not None and progress.iteration - progress.best_iteration >= self.patience


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
        self.history: list[dict[str, float]] = []
        self.diagnoses: list[dict[str, Any]] = []
        self._frames: list[Frame] = []  # to be written
        self._guard = Guard(step, ranks)
        self._saved_at = 0  # iteration of the state that was saved last
        self._warned = False  # of the adversary
        self._measured: list[_Measured] = []  # to be logged
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
        if not self.ranks.is_first:
            return
        folder, texts = self.folder, {METRICS_FILE: _lines(self.history)}
        if self.diagnose_every is not None:
            texts[DIAGNOSIS_FILE] = _lines(self.diagnoses)

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
        if not self.ranks.is_first:
            return
        self.history = read_lines(self.folder / METRICS_FILE, self.progress.iteration, mend=True)
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
        moment = budget.moment(progress, MOMENTS - 1)
        if progress.iteration == 0:
            if self.folder is not None and self.ranks.is_first:
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
                if budget.patience is not None:
                    self._watch(float(next(iter(record._asdict().values()))))  # waits for the device
                last = budget.is_spent(progress)
                before, moment = moment, budget.moment(progress, MOMENTS - 1)
                if moment != before:
                    self._shoot()
                if progress.iteration % log_every == 0 or progress.iteration == 1 or last:
                    self._measured.append(self._measure(record))
                if self.diagnose_every is not None and (progress.iteration % self.diagnose_every == 0 or last):
                    self._diagnose()
                # A GPU is read an iteration later: by then it has passed what is read, and nobody waits.
                self._log(before=progress.iteration if self.late and not last else None, last=last)
                if on_iteration is not None:
                    told = self.history[-1] if self.history else self._measure(record).entry()
                    try:
                        on_iteration(progress.iteration, told | self._costs)
                    except Interrupted:
                        asked.set()
                if stopping or (self.ranks.is_alone and asked.is_set()):
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

    def _agree(self, asked: bool, due: bool, seconds: float) -> tuple[bool, bool, float]:
        """Whether to stop, which any rank may ask for, whether to save, and the time: both by the first one's clock."""
        if self.ranks.is_alone:
            return asked, due, seconds
        first = float(self.ranks.is_first)
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
        """Turn what was measured (before an iteration) into numbers of the history."""
        while self._measured and (before is None or self._measured[0].iteration < before):
            measured = self._measured.pop(0)
            in_a_row = int(measured.in_a_row)
            # The last one decides whether there was any that was sound.
            patience = min(PATIENCE, measured.iteration) if last else PATIENCE
            check_patience(measured.iteration, in_a_row, measured.in_words(), patience)
            if in_a_row:
                continue  # nothing of it stays but the count
            self.history.append(measured.entry())
            self._costs = self.costs()
            if self.logger is not None:
                metrics = {name: value for name, value in self.history[-1].items() if name != "iteration"}
                self.logger.log(int(self.history[-1]["iteration"]), metrics | self._costs)

    def _measure(self, record: Record) -> _Measured:
        """What the last iteration measured, to be read later."""
        return _Measured(self.progress.iteration, self.progress.seconds, record, self._guard.in_a_row)

    def costs(self) -> dict[str, float]:
        """Seconds of an iteration, a mean since the metrics before the last ones, and the peak of memory in MiB that
        iterations have taken beside what the process held when they began."""
        before, last = ([{"iteration": 0.0, "seconds": 0.0}, *self.history])[-2:]
        seconds = (last["seconds"] - before["seconds"]) / max(last["iteration"] - before["iteration"], 1.0)
        return {"seconds_per_iteration": seconds, "memory_mb": max(self.progress.peak_memory_mb, self._peak())}

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


def _lines(entries: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def read_lines(path: Path, up_to: int | None = None, *, mend: bool = False) -> list[dict[str, Any]]:
    """Entries of a run's file of JSON lines, those after an iteration left out; none if there is no such file.

    Args:
        path: the file.
        up_to: the iteration.
        mend: leave damaged lines out, with a warning. They tell of a run, and are not needed to go on with it.

    Raises:
        NcfmFailure: if the file is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    except OSError as error:
        raise NcfmFailure(f"Could not read {path}: {error}.") from error
    entries = [entry for entry in map(_read_line, lines) if entry is not None]
    if len(entries) < len(lines):
        said = f"{path} is damaged in {len(lines) - len(entries)} of its lines"
        if not mend:
            raise NcfmFailure(f"{said}.")
        warnings.warn(f"{said}, which were left out.", stacklevel=2)
    return [entry for entry in entries if up_to is None or entry["iteration"] <= up_to]


def _read_line(line: str) -> dict[str, Any] | None:
    """An entry; None if the line is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    known = isinstance(entry, dict) and isinstance(entry.get("iteration"), int | float)
    return entry if known else None


class _Measured(NamedTuple):
    """What an iteration measured, as tensors: to read them waits for the device."""

    iteration: int
    seconds: float  # of the run, up to its end
    record: Record
    in_a_row: Tensor  # () of `Guard`

    def numbers(self) -> dict[str, float]:
        """By name."""
        return {name: float(value) for name, value in self.record._asdict().items() if value is not None}

    def in_words(self) -> str:
        """For a message."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.numbers().items())

    def entry(self) -> dict[str, float]:
        """An entry of the metrics."""
        return {"iteration": float(self.iteration), **self.numbers(), "seconds": round(self.seconds, 3)}


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
