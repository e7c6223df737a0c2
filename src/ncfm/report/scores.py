"""Evaluations of sets, from the score files of run folders and comparisons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError
from ncfm._utils.files import read_json
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.report.fields import number
from ncfm.synthetic.folders import SCORES_FILE
from ncfm.synthetic.score_file import read_scores

COMPARISON_FILE = "comparison.json"  # of `ncfm compare`, in the folder above its runs


@dataclass(frozen=True)
class Score:
    """An evaluation, of `ncfm.workflows.evaluating.scores`; accuracies are fractions."""

    name: str  # of the set
    network: str
    protocol: str
    mean: float
    std: float
    low: float | None
    high: float | None
    accuracies: tuple[float, ...] = ()
    per_class: tuple[float, ...] = ()  # NaN for a class without test images
    confusion: tuple[tuple[float, ...], ...] = ()
    calibration_error: float = math.nan
    num_images: int | None = None
    seconds: float = math.nan

    @property
    def setup(self) -> tuple[str, str]:
        """Network and protocol, which have to agree for a comparison."""
        return self.network, self.protocol


def read_own_scores(path: Path, name: str = "") -> list[Score]:
    """The evaluations of a run folder that have an accuracy."""
    return scores_of(name or path.name, read_scores(path / SCORES_FILE))


def scores_of(name: str, entries: Sequence[Mapping[str, Any]]) -> list[Score]:
    """Evaluations of the set of a name, as a score file has them; those without an accuracy are left out."""
    return [score for score in (_score(name, entry) for entry in entries) if score is not None]


def read_comparison(path: Path) -> list[Score]:
    """The other methods of the comparison that a run belongs to; several seeds of a method are combined.

    Raises:
        NcfmError: if the file is damaged.
    """
    file = path.resolve().parent / COMPARISON_FILE
    if not file.is_file():
        return []
    rows = read_json(file)
    if not isinstance(rows, list):
        raise InputError(f"{COMPARISON_FILE} is not a list of results.")
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for row in rows:
        found = _score(str(row.get("name", "")), row) if isinstance(row, dict) else None
        if found is not None and found.name != path.resolve().name:
            groups.setdefault((found.name, *found.setup), []).append(found)
    return [_over_seeds(group) for group in groups.values()]


def _over_seeds(group: Sequence[Score]) -> Score:
    if len(group) == 1:
        return group[0]
    spread = accuracy_interval([score.mean for score in group])
    first = group[0]
    return Score(first.name, first.network, first.protocol, spread.mean, spread.std, spread.low, spread.high)


def _score(name: str, entry: Mapping[str, Any]) -> Score | None:
    mean = number(entry.get("accuracy_mean"))
    if not math.isfinite(mean):
        return None
    low, high = (number(entry.get(f"accuracy_{end}")) for end in ("low", "high"))
    known = math.isfinite(low) and math.isfinite(high)
    counts = _list(entry.get("confusion"))
    confusion = tuple(tuple(map(number, row)) for row in counts) if _is_square(counts) else ()
    return Score(
        name=name,
        network=str(entry.get("network", "?")),
        protocol=str(entry.get("protocol", "?")),
        mean=mean,
        std=number(entry.get("accuracy_std")),
        low=low if known else None,
        high=high if known else None,
        accuracies=tuple(map(number, _list(entry.get("accuracies")))),
        per_class=tuple(map(number, _list(entry.get("per_class")))),
        confusion=confusion,
        calibration_error=number(entry.get("calibration_error")),
        num_images=entry["num_images"] if isinstance(entry.get("num_images"), int) else None,
        seconds=number(entry.get("seconds")),
    )


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_square(rows: list[Any]) -> bool:
    return all(isinstance(row, list) and len(row) == len(rows) for row in rows)
