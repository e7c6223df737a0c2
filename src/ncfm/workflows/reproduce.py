"""Reproduce a row of the results table: find the data, distil, evaluate, and compare with what it was before."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import best_effort, read_json, write_json
from ncfm._utils.progress import Reporter, Silent
from ncfm.config.resolve import Settings, check_folder, describe_run, resolve_config, variant_of
from ncfm.distillation import Interrupted
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation.statistics import Comparison, compare_summaries
from ncfm.results.checking import check_results
from ncfm.results.files import append_rows
from ncfm.results.rows import AccuracyRow
from ncfm.synthetic.folders import CONFIG_FILE, SCORES_FILE, has_set
from ncfm.synthetic.score_file import add_scores
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.distill import distill
from ncfm.workflows.evaluate import evaluate
from ncfm.workflows.evaluating import scores
from ncfm.workflows.rows import Row, committed_row, find_row
from ncfm.workflows.set_row import row_of_set

if TYPE_CHECKING:
    from ncfm._utils.energy import EnergyMeter

ENERGY_FILE = "energy.json"
READ_SECONDS = 1.0  # between two readings of the energy


class OutOfTime(NcfmError):
    """The time budget is used up. Everything is kept, and the same call resumes."""

    exit_code = 75  # sysexits' "temporary failure": the same command again


@dataclass(frozen=True)
class Reproduction:
    """A reproduced row, next to its earlier result."""

    row: Row
    new: AccuracyRow
    evaluation: EvaluationResult
    paper: float | None  # percent, the best of many test evaluations
    committed: Mapping[str, str] | None  # the row as it was committed
    difference: Comparison | None  # new minus committed; None if either has one student or another protocol


class Limited:
    """A reporter that ends the work when its time budget is used up, and reads the energy meter on the way.

    Args:
        reporter: receives everything.
        seconds: from now; None for no limit.
        meter: of energy; None measures none.
    """

    def __init__(self, reporter: Reporter, seconds: float | None, meter: EnergyMeter | None = None) -> None:
        self.reporter, self.meter = reporter, meter
        self._deadline = None if seconds is None else time.monotonic() + seconds
        self._read = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether the time budget is used up."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def begin(self, stage: str, total: int, unit: str = "step") -> None:
        """Pass it on."""
        self.reporter.begin(stage, total, unit)

    def update(self, done: int, note: str = "") -> None:
        """Pass it on.

        Raises:
            Interrupted: if the time budget is used up. Training and distillation then save a checkpoint and end.
        """
        self.reporter.update(done, note)
        if self.meter is not None and time.monotonic() - self._read >= READ_SECONDS:
            self._read = time.monotonic()
            self.meter.sample()
        if self.is_over:
            raise Interrupted("The time budget is used up.")

    def end(self) -> None:
        """Pass it on."""
        self.reporter.end()

    def remark(self, text: str) -> None:
        """Pass it on."""
        self.reporter.remark(text)


def reproduce(
    row: str | Row,
    *,
    out: str | Path | None = None,
    minutes: float | None = None,
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
    energy: bool = False,
) -> Reproduction:
    """Reproduce a row of the results table: distil by its recipe, evaluate, and compare with the committed row.

    Finished work is kept: teachers and students in the cache, the set in ``out``. The same call resumes.

    Args:
        row: a name such as "cifar10-ipc10", see `ncfm.workflows.rows.rows`.
        out: run folder, which may contain a part of this row; default ``runs/reproduce/<row>``.
        minutes: time budget of this call; None for no limit.
        settings: dotted settings over the recipe; the row's variant lists them.
        seed, data_dir, reporter: as in `ncfm.distill`.
        energy: measure what the machine uses; the row has it if every piece was measured.
        results: CSV file to which the row is appended.

    Raises:
        NcfmError: for an unknown row, as `ncfm.distill` and `ncfm.evaluate`, or if ``out`` contains something else.
        OutOfTime: if the time budget is used up before the row is finished.
        ncfm.Interrupted: on Ctrl-C or SIGTERM.

    >>> found = reproduce("digits-ipc1")  # doctest: +SKIP
    >>> found.new.accuracy_mean, found.difference  # doctest: +SKIP
    """
    row = find_row(row) if isinstance(row, str) else row
    out = Path("runs") / "reproduce" / row.name if out is None else Path(out).expanduser()
    settings = dict(settings or {})
    config = resolve_config(row.data, row.ipc, row.name, settings, seed)
    check_results(results, AccuracyRow)
    resumed, meter = (out / CONFIG_FILE).is_file(), None
    if energy:
        from ncfm._utils.energy import EnergyMeter

        meter = EnergyMeter()
    limited = Limited(reporter or Silent(), None if minutes is None else 60 * minutes, meter)
    try:
        synthetic = _distilled(row, out, settings, seed, data_dir, limited)
        # The network of the teachers too: the set records the same, but a name of code is the user's to give.
        kinds = ("evaluate.", "machine.", "data.", "teachers.network")
        used = {key: value for key, value in settings.items() if key.startswith(kinds)}
        evaluation = evaluate(synthetic, settings=used, seed=seed, data_dir=data_dir, reporter=limited)
    except Interrupted as stop:
        if not limited.is_over:
            raise Interrupted(f"{stop} Run the same command again to resume.") from stop
        state = str(stop) if "iteration" in str(stop) else "Finished epochs are kept."
        raise OutOfTime(
            f"The time budget of {minutes:g} minutes is used up. {state} Run the same command again to resume."
        ) from stop
    finally:
        joules = _add_energy(out, None if meter is None else meter.sample(), resumed=resumed)
    variant = ",".join(filter(None, [row.schedule, variant_of(row.data, row.ipc, config, recipe=row.name)]))
    new = replace(
        row_of_set(synthetic, evaluation, settings=used, seed=seed, variant=variant),
        energy_wh=None if joules is None else joules / 3600,
    )
    if results is not None:
        append_rows(Path(results), [new])
    add_scores(out / SCORES_FILE, [scores(evaluation)])
    before = committed_row(row.name)
    return Reproduction(row, new, evaluation, row.paper, before, _difference(new, before))


def _distilled(
    row: Row, out: Path, settings: Settings, seed: int | None, data_dir: str | Path | None, reporter: Reporter
) -> SyntheticSet:
    """The set of a row: from the folder if it is finished, else distilled, from the folder's checkpoint if it has one.

    Raises:
        NcfmError: if the folder contains another run.
    """
    begun = (out / CONFIG_FILE).is_file()
    if begun and has_set(out):
        config = resolve_config(row.data, row.ipc, row.name, settings, seed)
        check_folder(out, describe_run(row.data, row.ipc, config), resume=True)
        return load(out)
    return distill(
        row.data,
        ipc=row.ipc,
        recipe=row.name,
        settings=settings,
        seed=seed,
        out=out,
        resume=begun,
        data_dir=data_dir,
        reporter=reporter,
    ).synthetic


def _add_energy(out: Path, joules: float | None, *, resumed: bool = False) -> float | None:
    """Add the joules of a piece to those of the run folder.

    Args:
        out: the run folder.
        joules: None if the piece was not measured.
        resumed: whether there were pieces before this one; without a file they were not measured.

    Returns:
        Joules of all pieces; None if any of them was not measured.
    """
    path = out / ENERGY_FILE
    if path.is_file():
        before = read_json(path).get("joules")
    elif joules is None:
        return None
    else:
        before = None if resumed else 0.0
    total = None if before is None or joules is None else float(before) + joules
    with best_effort():
        write_json(path, {"joules": total})
    return total


def _difference(new: AccuracyRow, before: Mapping[str, str] | None) -> Comparison | None:
    """The new row minus the committed one, with its interval by Welch's test."""
    if before is None or (before["network"], before["protocol"]) != (new.network, new.protocol):
        return None
    if min(new.num_runs, int(before["num_runs"])) < 2:
        return None
    committed = (float(before["accuracy_mean"]), float(before["accuracy_std"]), int(before["num_runs"]))
    return compare_summaries((new.accuracy_mean, new.accuracy_std, new.num_runs), committed)
