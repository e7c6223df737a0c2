"""`python -m benchmarks.trial`: are the default settings good on data that nobody prepared?

Small data sets of different fields (`benchmarks.trial_sets`) are distilled with the plain defaults, that is, without
recipe and settings, and compared with as many herded and random real images. A row says what was chosen, and whether
there was a warning. The command resumes: finished sets are kept in --out, and rows of the file are not made again.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.records import TrialRow
from benchmarks.trial_sets import SETS, TrialSet
from ncfm._utils.device import choose_device
from ncfm._utils.progress import Silent
from ncfm.data.image_set import ImageSet
from ncfm.results.files import Conditions, append_rows, read_rows
from ncfm.workflows.compare import compare
from ncfm.workflows.scored import Scored

METHODS = ("ncfm", "herding", "random")


class Remarks(Silent):
    """A reporter that keeps the remarks."""

    def __init__(self) -> None:
        self.remarks: list[str] = []

    def remark(self, text: str) -> None:
        """Keep it."""
        self.remarks.append(text)


def try_set(
    trial: TrialSet, images: ImageSet, ipc: int, out: Path | None, settings: Mapping[str, Any] | None = None
) -> list[TrialRow]:
    """Compare the methods on one set.

    Args:
        trial: what it is.
        images: the set.
        ipc: images per class.
        out: folder that keeps what is finished.
        settings: for tests; the trial is of the plain defaults.
    """
    reporter = Remarks()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        place = None if out is None else out / f"{trial.name}-ipc{ipc}"
        scored = compare(images, ipc=ipc, methods=METHODS, settings=settings, out=place, reporter=reporter)
    told = [str(one.message) for one in caught if issubclass(one.category, UserWarning)]
    return [_row(trial, ipc, one, reporter.remarks, told) for one in scored]


def _row(trial: TrialSet, ipc: int, one: Scored, remarks: list[str], told: list[str]) -> TrialRow:
    spread = one.evaluation.interval
    here = asdict(Conditions.here(choose_device("auto")))
    del here["peak_memory_mb"]
    return TrialRow(
        dataset=trial.name,
        field=trial.field,
        held_out=trial.held_out,
        ipc=ipc,
        method=one.method,
        accuracy_mean=spread.mean,
        accuracy_std=spread.std,
        accuracy_low=spread.low,
        accuracy_high=spread.high,
        num_runs=len(one.evaluation.accuracies),
        chosen=" | ".join(remarks),
        warned=" | ".join(told),
        distill_seconds=one.distill_seconds,
        training_images=one.training_images,
        **here,
    )


def is_done(results: Path, name: str, ipc: int) -> bool:
    """Whether the file has all methods of a set."""
    rows = read_rows(results) if results.is_file() else []
    return {row["method"] for row in rows if (row["dataset"], row["ipc"]) == (name, str(ipc))} >= set(METHODS)


def main() -> None:
    """Try the sets, the cheap ones first."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trial", description=__doc__)
    parser.add_argument("--only", default="", help="names of some of the sets, joined by commas")
    parser.add_argument("--ipc", default="1,10", help="images per class, joined by commas")
    parser.add_argument("--out", type=Path, default=Path("runs/trial"), help="folder that keeps what is finished")
    parser.add_argument("--results", type=Path, required=True, help="append rows to this file (results/defaults.csv)")
    options = parser.parse_args()
    only = [name for name in options.only.split(",") if name]
    for ipc in map(int, options.ipc.split(",")):
        for trial in SETS:
            if (only and trial.name not in only) or is_done(options.results, trial.name, ipc):
                continue
            rows = try_set(trial, trial.load(), ipc, options.out)
            append_rows(options.results, rows)
            shown = ", ".join(f"{row.method} {row.accuracy_mean:.1%}" for row in rows)
            print(f"{trial.name}, IPC {ipc}: {shown}", flush=True)


if __name__ == "__main__":
    main()
