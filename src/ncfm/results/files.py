"""Results files: one row per number, with the command and the conditions that produced it."""

from __future__ import annotations

import csv
import datetime
import io
import math
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ncfm._utils.checks import InputError, RunError
from ncfm._utils.device import describe_device, peak_memory_mb
from ncfm._utils.files import write_text
from ncfm._utils.locks import taking_turns
from ncfm._utils.version import __version__
from ncfm.results.rows import AccuracyRow

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COLUMNS = tuple(f.name for f in fields(AccuracyRow))
MEMORY = ("peak_memory_mb", "distill_memory_mb")
CONDITIONS = (*MEMORY, "command", "commit", "date", "threads", "iterations", "storage")
"""Columns that differ where finished scores are read again, by another process."""
REPEATED = (*MEMORY, "date", "teacher_seconds", "distill_seconds", "evaluate_seconds", "seconds", "energy_wh")
"""Columns that differ where the same command measures the same again."""


@dataclass(frozen=True)
class Conditions:
    """Conditions of a measurement. They are stored with its scores, for rows that are written later."""

    device: str
    threads: int
    peak_memory_mb: float
    command: str
    commit: str
    date: str

    @classmethod
    def here(cls, device: torch.device) -> Conditions:
        """The current conditions of this process."""
        return cls(
            describe_device(device),
            torch.get_num_threads(),
            peak_memory_mb(device),
            command_line(),
            code_version(),
            today(),
        )


def command_line() -> str:
    """The running command as it would be typed, with the program and absolute paths reduced to their last part."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    arguments = [_without_place(argument) for argument in sys.argv[1:]]
    if main is not None and main.name.startswith("benchmarks."):
        return shlex.join(["python", "-m", main.name, *arguments])  # as benchmarks are called
    program = Path(sys.argv[0]).name
    return shlex.join(["ncfm" if program == "__main__.py" else program, *arguments])


def _without_place(argument: str) -> str:
    """An argument, with an absolute path reduced to its last part: rows are read on other machines."""
    if Path(argument).is_absolute():
        return Path(argument).name or argument
    option, equals, value = argument.rpartition("=")
    return option + equals + Path(value).name if Path(value).is_absolute() and Path(value).name else argument


def append_rows(path: Path, rows: Sequence[DataclassInstance]) -> None:
    """Append rows to a CSV file, which is created if needed and rewritten atomically.

    A measurement that the file already has is skipped, see `is_known`. Columns that a file of an earlier version lacks
    are added, empty in its rows.

    Raises:
        NcfmError: if the file has columns that this version does not know; RunError if it is not a table.
    """
    columns = tuple(f.name for f in fields(rows[0])) if rows else COLUMNS
    cells = [{key: _cell(value) for key, value in asdict(row).items()} for row in rows]
    with taking_turns(path):
        names, before = _read(path) if path.is_file() else ((), [])
        if set(names) - set(columns):
            raise InputError(f"{path} has columns that this version does not know; expected {','.join(columns)}.")
        whole = [{column: row.get(column) or "" for column in columns} for row in before]
        for row in cells:
            if not is_known(row, whole):
                whole.append(row)
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(whole)
        write_text(path, buffer.getvalue())


def is_known(row: Mapping[str, str], rows: Iterable[Mapping[str, str]]) -> bool:
    """Whether a measurement is already among rows of the same columns.

    A repeated command reads its finished scores from the cache, identical to the last digit of their times. Where the
    cache could not be written, it measures again, with the same accuracies in another time. Neither is new evidence.
    Other code, or another command, measures anew, and so does every benchmark, whose times are its result.
    """
    by_command = not row["command"].startswith("python -m benchmarks.")
    return any(
        _without(row, CONDITIONS) == _without(other, CONDITIONS)
        or (by_command and _without(row, REPEATED) == _without(other, REPEATED))
        for other in rows
    )


def _without(row: Mapping[str, str], aside: Sequence[str]) -> list[str]:
    return [value for column, value in row.items() if column not in aside]


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a results file, as text.

    Raises:
        NcfmError: if it is missing; RunError if it is damaged.
    """
    if not path.is_file():
        raise InputError(f"Expected a results file {path}, but there is none.")
    return _read(path)[1]


def _read(path: Path) -> tuple[Sequence[str], list[dict[str, str]]]:
    """The columns and the rows of a file.

    Raises:
        RunError: if it is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            table = csv.DictReader(file)
            return table.fieldnames or (), list(table)
    except (OSError, ValueError, csv.Error) as error:
        raise RunError(f"Could not read {path} as a table: {error}.") from error


def latest(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """The last row of each measurement, in the order of their first appearance."""
    what = ("dataset", "ipc", "method", "variant", "network", "protocol", "seed")
    return list({tuple(row[column] for column in what): row for row in rows}.values())


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@cache
def code_version() -> str:
    """The commit of the running code, with ``+changes`` if its files differ from it; without git the version.

    Determined once: a long run must not be attributed to a commit made in the meantime.
    """
    folder = Path(__file__).parent
    try:
        commit = _git("rev-parse", "--short=12", "HEAD", folder=folder)
        changed = _git("status", "--porcelain", "--untracked-files=no", ".", folder=folder.parent)
    except (OSError, subprocess.CalledProcessError):
        return __version__  # not of the installed package: the code may run from its folder
    return commit + ("+changes" if changed else "")


def library_versions() -> dict[str, str]:
    """Versions of Python and of the numerical libraries."""
    return {
        "python": platform.python_version(),
        "ncfm": __version__,
        **{name: version(name) for name in ("torch", "numpy")},
    }


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def today() -> str:
    """The date in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
