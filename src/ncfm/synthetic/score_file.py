"""The score file of a run folder: the evaluations of its set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncfm._utils.checks import RunError
from ncfm._utils.files import read_json, write_json
from ncfm._utils.locks import taking_turns
from ncfm.synthetic.folders import SCORES_FILE, SET_FOLDER


def read_scores(path: Path) -> list[dict[str, Any]]:
    """The evaluations in the score file of a run folder; an empty list if there is no such file.

    Raises:
        NcfmError: if the file is not a list of evaluations.
    """
    if not path.is_file():
        return []
    entries = read_json(path)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise RunError(f"{path} is not a list of evaluations; remove it to evaluate again.")
    return entries


def add_scores(path: Path, new: Sequence[Mapping[str, Any]]) -> None:
    """Append evaluations to a score file; those that it already has, whatever time they took, are skipped.

    Raises:
        NcfmError: as `read_scores`; RunError if the file cannot be written.
    """
    with taking_turns(path):
        known = read_scores(path)
        added = [dict(entry) for entry in new if without_times(entry) not in map(without_times, known)]
        write_json(path, known + added)


def without_times(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an evaluation in a score file found, whatever time it took."""
    return {key: value for key, value in entry.items() if key != "seconds"}


def scores_of_run(folder: Path, known: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Scores in the run folder around a set that are not stored with the set, without their confusion matrices."""
    if folder.name != SET_FOLDER:
        return []
    entries = [
        {key: value for key, value in entry.items() if key != "confusion"}  # C * C numbers
        for entry in read_scores(folder.parent / SCORES_FILE)
    ]
    return [entry for entry in entries if entry not in known]
