"""The loop: from a real set and a pool of teachers to a synthetic set."""

from __future__ import annotations

import contextlib
import json
import math
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from torch import Tensor

from ncfm._checks import NcfmError, NcfmFailure, check_at_least, check_factor, check_known
from ncfm._device import is_out_of_memory
from ncfm._files import BackgroundTask, write_atomically
from ncfm._seeding import Streams
from ncfm.augment import SiameseAugment
from ncfm.data.images import ImageSet
from ncfm.distillation.state import Progress, load_state, take_snapshot
from ncfm.distillation.step import MinMaxStep, Player, StepRecord
from ncfm.objectives import Objective
from ncfm.synthetic import SyntheticSet, start_images
from ncfm.teachers import TeacherPool
from ncfm.training import schedule_factor

METRICS_FILE = "metrics.jsonl"
IMAGE_SCHEDULES = ("constant", "cosine", "step", "fifths")
SMOOTHING = 0.98  # of the discrepancy that early stopping looks at: a mean over about 50 iterations
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


def distill(
    real: ImageSet,
    pool: TeacherPool,
    objective: Objective,
    *,
    ipc: int,
    iterations: int = 1000,
    factor: int = 2,
    mode: str = "single",
    bound: int = 128,
    init: str = "mosaic",
    augment: str = "color_crop_cutout_flip_scale_rotate",
    real_batch_per_class: int = 64,
    image_lr: float = 0.01,
    image_schedule: str = "cosine",
    adversary_lr: float = 1e-3,
    ascent_steps: int = 1,
    descent_steps: int = 1,
    matching_weight: float = 1.0,
    calibration_weight: float = 1.0,
    normalize_features: bool = True,
    recompute_batch_norms: bool = True,
    early_stop_patience: int | None = None,
    seed: int = 0,
    precision: torch.dtype = torch.float32,
    chunk_size: int = 64,
    gradient_chunk_size: int | None = None,
    compile_networks: bool = False,
    compile_step: bool = False,
    folder: Path | None = None,
    resume: bool = False,
    checkpoint_seconds: float = 30.0,
    log_every: int = 10,
    on_iteration: Callable[[int, dict[str, float]], None] | None = None,
) -> DistillResult:
    """Distil a real set into ``ipc`` stored images per class.

    Args:
        real: the real set; only its training split is used.
        pool: teachers; their device is where the work is done.
        objective: what is matched, on the same device; its adversary (if any) is trained.
        ipc: stored images per class; training sees ``formation.decoded_ipc`` of them.
        iterations: outer iterations.
        factor, mode, bound: multi-formation, see `ncfm.formation.decode`.
        init: "noise", "real" or "mosaic".
        augment: DSA strategy of the matching.
        real_batch_per_class: fresh real images of every class in an iteration.
        image_lr: Adam's learning rate on pixels in [0, 1].
        image_schedule: over the iterations: constant, cosine, step or fifths (see `TrainingRecipe`).
        adversary_lr: Adam's learning rate of the adversary, constant.
        ascent_steps, descent_steps, matching_weight, calibration_weight, normalize_features, recompute_batch_norms: see
            `MinMaxStep`.
        early_stop_patience: stop when the smoothed discrepancy has not fallen by 0.1 % for so many iterations.
        seed: of every random stream.
        precision, chunk_size, gradient_chunk_size, compile_networks, compile_step: see `MinMaxStep`.
        folder: where metrics and state are written; nothing is written if None.
        resume: continue from the state in ``folder``.
        checkpoint_seconds: time between saved states.
        log_every: iterations between metrics.
        on_iteration: called after each iteration with its number and the last logged metrics.

    Raises:
        NcfmError: for settings that do not fit the data or each other.
        Interrupted: on Ctrl-C or SIGTERM, after the running iteration was finished and its state saved.
    """
    check_at_least(iterations, 0, "iterations")
    check_factor(real.image_size, factor)
    check_known(image_schedule, IMAGE_SCHEDULES, "image schedule")
    device = next(pool.blended.parameters()).device
    # Frequencies are k d numbers an iteration, millions: drawn where they are used.
    streams = Streams(seed, {"frequencies": device} if device.type == "cuda" else None)
    start = SyntheticSet(
        start_images(real, ipc=ipc, factor=factor, init=init, generator=streams["init"]),
        real.class_names,
        real.statistics,
        factor,
        mode,
        bound,
    )
    images, adversary = _players(start, objective, device, image_lr, adversary_lr)
    step = MinMaxStep(
        real.train.to(device),
        images,
        adversary,
        objective=objective,
        pool=pool,
        streams=streams,
        augment=SiameseAugment(augment),
        real_batch_per_class=real_batch_per_class,
        factor=factor,
        mode=mode,
        bound=bound,
        matching_weight=matching_weight,
        calibration_weight=calibration_weight,
        ascent_steps=ascent_steps,
        descent_steps=descent_steps,
        normalize_features=normalize_features,
        recompute_batch_norms=recompute_batch_norms,
        precision=precision,
        chunk_size=chunk_size,
        gradient_chunk_size=gradient_chunk_size,
        compile_networks=compile_networks,
        compile_step=compile_step,
    )
    run = _Run(step, objective, streams, folder)
    if resume:
        run.resume()
    run.play(
        iterations,
        lambda i: image_lr * schedule_factor(image_schedule, (i + 0.5) / max(iterations, 1)),
        patience=early_stop_patience,
        checkpoint_seconds=checkpoint_seconds,
        log_every=log_every,
        on_iteration=on_iteration,
    )
    return DistillResult(
        synthetic=start.with_images(images.tensors[0].detach().cpu().clone()),
        start=start,
        iterations=run.progress.iteration,
        seconds=run.progress.seconds,
        stopped_early=run.progress.iteration < iterations,
        history=run.history,
        images_per_pass=step.extract.gradient_chunk_size,
    )


def _players(
    start: SyntheticSet, objective: Objective, device: torch.device, image_lr: float, adversary_lr: float
) -> tuple[Player, Player | None]:
    """The images, which descend, and the adversary, which ascends (None if there is nothing to learn)."""
    pixels = start.images.to(device, copy=True).requires_grad_()
    images = Player([pixels], torch.optim.Adam([pixels], lr=image_lr))
    objective.to(device)
    if objective.adversary is None:
        return images, None
    tensors = list(objective.adversary.parameters())
    return images, Player(tensors, torch.optim.Adam(tensors, lr=adversary_lr, maximize=True))


class _Run:
    """A distillation under way: its step, its progress, and what is on disk."""

    def __init__(self, step: MinMaxStep, objective: Objective, streams: Streams, folder: Path | None) -> None:
        self.step, self.objective, self.streams, self.folder = step, objective, streams, folder
        self.progress = Progress()
        self.history: list[dict[str, float]] = []
        self._measured: list[tuple[int, float, StepRecord]] = []  # to be logged: iteration, seconds, what it measured
        self._late = step.images.tensors[0].device.type == "cuda"
        self._writing = BackgroundTask()

    def _tensors(self) -> dict[str, Tensor]:
        named = {"images": self.step.images.tensors[0]}
        if self.objective.adversary is not None:
            named |= {f"adversary.{k}": v for k, v in self.objective.adversary.named_parameters()}
        return named

    def _optimizers(self) -> dict[str, torch.optim.Optimizer]:
        players = {"images_optimizer": self.step.images, "adversary_optimizer": self.step.adversary}
        return {name: player.optimizer for name, player in players.items() if player is not None}

    def save(self, *, wait: bool = True) -> None:
        """Write the metrics, then the state that counts them; in the background unless told to wait."""
        self._log()
        check_state(self._tensors(), self.progress.iteration)
        if self.folder is None:
            return
        folder, lines = self.folder, "".join(json.dumps(entry) + "\n" for entry in self.history)
        snapshot = take_snapshot(self.progress, self._tensors(), self._optimizers(), self.streams)

        def write() -> None:
            write_atomically(folder / METRICS_FILE, lambda p: _write(p, lines))
            snapshot.write(folder)

        self._writing.start(write)
        if wait:
            self._writing.wait()

    def resume(self) -> None:
        """Continue from the folder's state; metrics after it are dropped, they will be measured again."""
        if self.folder is None:
            raise NcfmError("resume needs the folder of an interrupted run (--out).")
        self.progress = load_state(self.folder, self._tensors(), self._optimizers(), self.streams)
        path = self.folder / METRICS_FILE
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        try:
            entries = [json.loads(line) for line in lines]
            self.history = [e for e in entries if e["iteration"] <= self.progress.iteration]
        except (ValueError, KeyError, TypeError) as error:
            raise NcfmFailure(
                f"{path} is damaged ({error}); remove it to resume without the metrics so far."
            ) from error

    def play(
        self,
        iterations: int,
        lr: Callable[[int], float],
        *,
        patience: int | None,
        checkpoint_seconds: float,
        log_every: int,
        on_iteration: Callable[[int, dict[str, float]], None] | None,
    ) -> None:
        """Play iterations until all are done, nothing improves, or somebody asks to stop."""
        progress = self.progress
        began, saved = time.perf_counter() - progress.seconds, time.perf_counter()
        with stop_requests() as asked, contextlib.closing(self._writing):
            while progress.iteration < iterations and not self._stalled(patience):
                for group in self.step.images.optimizer.param_groups:
                    group["lr"] = lr(progress.iteration)
                record = self._step_that_fits()
                progress.iteration += 1
                progress.seconds = time.perf_counter() - began
                if patience is not None:
                    self._watch(float(record.discrepancy))
                if progress.iteration % log_every == 0 or progress.iteration in (1, iterations):
                    self._measured.append((progress.iteration, progress.seconds, record))
                # A GPU is read an iteration later: by then it has passed what is read, and nobody waits.
                self._log(before=progress.iteration if self._late and progress.iteration < iterations else None)
                if on_iteration is not None:
                    last = self.history[-1] if self.history else _entry(progress.iteration, progress.seconds, record)
                    on_iteration(progress.iteration, last)
                if asked.is_set():
                    self.save()
                    raise Interrupted(_stopped_message(progress.iteration, iterations, self.folder))
                if time.perf_counter() - saved > checkpoint_seconds:
                    self.save(wait=False)
                    saved = time.perf_counter()
            self.save()

    def _step_that_fits(self) -> StepRecord:
        """Play an iteration; if memory does not suffice, the same one again in smaller passes.

        The same draws are made again. Only moves that the adversary had made before memory ran out (with more ascents
        than one) are not taken back.

        Raises:
            NcfmFailure: if not even single images fit.
        """
        state = self.streams.state()
        while True:
            try:
                return self.step()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if not self.step.halve_chunks():
                    raise NcfmFailure(
                        "Not enough memory for an iteration, not even in passes of one image; lower ipc, "
                        "distill.real_batch_per_class or frequencies.number."
                    ) from error
            # Outside the except clause: the error's traceback keeps the failed pass alive.
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.streams.load_state(state)
            warnings.warn(
                f"Out of memory in iteration {self.progress.iteration + 1}; going on with passes of "
                f"{self.step.extract.gradient_chunk_size} images.",
                stacklevel=2,
            )

    def _log(self, before: int | None = None) -> None:
        """Turn what was measured (before an iteration) into numbers of the history."""
        while self._measured and (before is None or self._measured[0][0] < before):
            self.history.append(_entry(*self._measured.pop(0)))

    def _watch(self, discrepancy: float) -> None:
        """Follow the smoothed discrepancy for early stopping."""
        p = self.progress
        p.smoothed = discrepancy if p.smoothed is None else SMOOTHING * p.smoothed + (1 - SMOOTHING) * discrepancy
        if p.best is None or p.smoothed < p.best * (1 - MIN_GAIN):
            p.best, p.best_iteration = p.smoothed, p.iteration

    def _stalled(self, patience: int | None) -> bool:
        return patience is not None and self.progress.iteration - self.progress.best_iteration >= patience


def _entry(iteration: int, seconds: float, record: StepRecord) -> dict[str, float]:
    """An entry of the metrics.

    Raises:
        NcfmFailure: if a loss is not finite.
    """
    discrepancy, calibration = float(record.discrepancy), float(record.calibration)
    if not math.isfinite(discrepancy + calibration):
        raise NcfmFailure(
            f"The loss became {discrepancy} (discrepancy) and {calibration} (calibration) in iteration {iteration}; "
            "lower image_lr or use --set machine.precision=float32."
        )
    return {
        "iteration": float(iteration),
        "discrepancy": discrepancy,
        "calibration": calibration,
        "seconds": round(seconds, 3),
    }


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


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _stopped_message(iteration: int, iterations: int, folder: Path | None) -> str:
    done = f"Stopped after iteration {iteration} of {iterations}. "
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
