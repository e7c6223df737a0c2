"""Callbacks that watch a run and report it: early stopping, the adversary, logger and progress."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from ncfm.distillation.callback import Callback
from ncfm.distillation.diagnosis import Spectrum, collapse
from ncfm.distillation.interruption import Interrupted
from ncfm.distillation.loggers import MetricLogger
from ncfm.distillation.step_protocol import Record

if TYPE_CHECKING:
    from ncfm.distillation.runner import Run

SMOOTHING = 0.98  # of the value that early stopping follows: a mean over about 50 iterations
MIN_GAIN = 1e-3  # relative improvement that counts


class EarlyStopping(Callback):
    """Follows the smoothed value that is minimised; `Budget.has_stalled` ends the run by it."""

    def after_iteration(self, run: Run, record: Record) -> None:
        """Update the smoothed value and its best."""
        if run.budget.early_stop_patience is None:
            return
        value = float(next(iter(record._asdict().values())))  # waits for the device
        if not math.isfinite(value):
            return
        p = run.progress
        p.smoothed = value if p.smoothed is None else SMOOTHING * p.smoothed + (1 - SMOOTHING) * value
        if p.best is None or p.smoothed < p.best * (1 - MIN_GAIN):
            p.best, p.best_iteration = p.smoothed, p.iteration


PLATEAU_GAIN = 1e-4  # relative improvement that counts, that of PyTorch's ReduceLROnPlateau
PLATEAU_FACTOR = 0.5


class PlateauSchedule(Callback):
    """The learning rate of the schedule "plateau": halved where the discrepancy has not fallen for long enough.

    Follows the discrepancy of each iteration without smoothing, as the published NCFM does its loss
    (gszfwsb/NCFM, ``condenser/Condenser.py``: ReduceLROnPlateau, factor 0.5, patience 500).
    """

    def after_iteration(self, run: Run, record: Record) -> None:
        """Compare with the best, and halve."""
        if run.budget.image_schedule != "plateau":
            return
        value, p = float(next(iter(record._asdict().values()))), run.progress  # waits for the device
        if math.isfinite(value) and (p.plateau_best is None or value < p.plateau_best * (1 - PLATEAU_GAIN)):
            p.plateau_best, p.plateau_waited = value, 0
        else:
            p.plateau_waited += 1
        if p.plateau_waited > run.budget.plateau_patience:
            p.plateau_factor, p.plateau_waited = p.plateau_factor * PLATEAU_FACTOR, 0


class AdversaryWatch(Callback):
    """Compares the adversary's frequencies with those of the start, and warns once if they have collapsed."""

    def __init__(self) -> None:
        self._warned = False

    def on_start(self, run: Run) -> None:
        """Note the spectrum of the start."""
        if run.progress.iteration == 0:
            self._compare(run)

    def before_save(self, run: Run) -> None:
        """Compare."""
        self._compare(run)

    def _compare(self, run: Run) -> None:
        now, p = run.step.spectrum(), run.progress
        if now is None:
            return
        if p.spectrum is None:
            p.spectrum = list(now)
        problem = collapse(Spectrum(*p.spectrum), now)
        if problem and not self._warned:
            self._warned = True
            warnings.warn(
                f"The adversary has collapsed by iteration {p.iteration}: {problem}. What it finds is no longer worth "
                "matching; lower distill.adversary_lr, or bound it (frequencies.spread, frequencies.fixed_bandwidth).",
                stacklevel=2,
            )


class MetricsLogging(Callback):
    """Reads the measurements into ``run.history``, and logs them with time and memory.

    Args:
        logger: receives them; None to only read.
        late: read an iteration's measurements during the next one. By then a GPU has computed them, and nothing waits.
    """

    def __init__(self, logger: MetricLogger | None, *, late: bool) -> None:
        self.costs: dict[str, float] = {}  # of the last entry, see `Run.costs`
        self._logger, self._late = logger, late

    def after_iteration(self, run: Run, record: Record) -> None:
        """Read what the device has computed."""
        last = run.is_over
        self._read(run, before=run.progress.iteration if self._late and not last else None, last=last)

    def before_save(self, run: Run) -> None:
        """Read all, and bring the counts of the checkpoint up to date."""
        self._read(run)
        run.progress.rolled_back = int(run.guard.rolled_back)
        run.progress.peak_memory_mb = run.peak_memory_mb

    def close(self) -> None:
        """Close the logger."""
        if self._logger is not None:
            self._logger.close()

    def _read(self, run: Run, before: int | None = None, *, last: bool = False) -> None:
        for entry in run.history.read(before, last=last):
            self.costs = run.costs()
            if self._logger is not None:
                metrics = {name: value for name, value in entry.items() if name != "iteration"}
                self._logger.log(int(entry["iteration"]), metrics | self.costs)


class ProgressReport(Callback):
    """Calls a function after each iteration with its number and the last logged metrics.

    Args:
        report: the function. The metrics include ``seconds_per_iteration`` and ``memory_mb``, see `Run.costs`. It may
            ask the run to stop by raising `Interrupted`.
        logging: has read the metrics.
    """

    def __init__(self, report: Callable[[int, dict[str, float]], None], logging: MetricsLogging) -> None:
        self._report, self._logging = report, logging

    def after_iteration(self, run: Run, record: Record) -> None:
        """Report."""
        entries = run.history.entries
        metrics = entries[-1] if entries else run.measured(record).entry()
        try:
            self._report(run.progress.iteration, metrics | self._logging.costs)
        except Interrupted:
            run.request_stop()
