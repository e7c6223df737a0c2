"""The measurements of iterations, in memory and in the run folder's files of JSON lines."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from ncfm._utils.checks import RunError
from ncfm.distillation.nonfinite_guard import PATIENCE, check_patience
from ncfm.distillation.step_protocol import Record

METRICS_FILE, DIAGNOSIS_FILE = "metrics.jsonl", "diagnosis.jsonl"


class Measured(NamedTuple):
    """The measurements of an iteration, as tensors: reading them waits for the device."""

    iteration: int
    seconds: float  # of the run, up to its end
    record: Record
    in_a_row: Tensor  # () of `Guard`

    def numbers(self) -> dict[str, float]:
        """The values by name."""
        return {name: float(value) for name, value in self.record._asdict().items() if value is not None}

    def in_words(self) -> str:
        """The values for a message."""
        return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in self.numbers().items())

    def entry(self) -> dict[str, float]:
        """An entry of the metrics."""
        return {"iteration": float(self.iteration), **self.numbers(), "seconds": round(self.seconds, 3)}


class History:
    """The metrics of a run: measured as tensors, read once the device has computed them."""

    def __init__(self) -> None:
        self.entries: list[dict[str, float]] = []
        self._measured: list[Measured] = []  # to be read

    def add(self, measured: Measured) -> None:
        """Keep the measurements of an iteration to be read later."""
        self._measured.append(measured)

    def read(self, before: int | None = None, *, last: bool = False) -> Iterator[dict[str, float]]:
        """Turn measurements into entries, one by one. Iterations that were rolled back are left out.

        Args:
            before: read only iterations before this one; None for all.
            last: whether the last measurement is of the last iteration of the run.

        Raises:
            RunError: for too many iterations in a row that were not finite; after the last one if all were not.
        """
        while self._measured and (before is None or self._measured[0].iteration < before):
            measured = self._measured.pop(0)
            in_a_row = int(measured.in_a_row)
            # A run without a single finite iteration fails, however short it is.
            patience = min(PATIENCE, measured.iteration) if last else PATIENCE
            check_patience(measured.iteration, in_a_row, measured.in_words(), patience)
            if in_a_row:
                continue  # rolled back: only the count remains
            self.entries.append(measured.entry())
            yield self.entries[-1]

    @property
    def seconds_per_iteration(self) -> float:
        """Mean between the last two entries."""
        before, last = ([{"iteration": 0.0, "seconds": 0.0}, *self.entries])[-2:]
        return (last["seconds"] - before["seconds"]) / max(last["iteration"] - before["iteration"], 1.0)


def as_lines(entries: Iterable[Mapping[str, Any]]) -> str:
    """The content of a file of JSON lines."""
    return "".join(json.dumps(entry) + "\n" for entry in entries)


def read_lines(path: Path, up_to: int | None = None, *, mend: bool = False) -> list[dict[str, Any]]:
    """Entries of a run's file of JSON lines up to an iteration; an empty list if there is no such file.

    Args:
        path: the file.
        up_to: the last iteration to read; None for all.
        mend: leave damaged lines out, with a warning. A run can continue without them.

    Raises:
        RunError: if the file cannot be read, or is damaged and not mended.
    """
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    except OSError as error:
        raise RunError(f"Could not read {path}: {error}.") from error
    entries = [entry for entry in map(_read_line, lines) if entry is not None]
    if len(entries) < len(lines):
        damage = f"{path} is damaged in {len(lines) - len(entries)} of its lines"
        if not mend:
            raise RunError(f"{damage}.")
        warnings.warn(f"{damage}, which were left out.", stacklevel=2)
    return [entry for entry in entries if up_to is None or entry["iteration"] <= up_to]


def _read_line(line: str) -> dict[str, Any] | None:
    """An entry; None if the line is damaged."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    known = isinstance(entry, dict) and isinstance(entry.get("iteration"), int | float)
    return entry if known else None
