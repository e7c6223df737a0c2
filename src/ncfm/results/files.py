"""Results files: a row for every published number, with the command and the conditions that produced it."""

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

from ncfm._utils.checks import NcfmError, NcfmFailure
from ncfm._utils.device import describe_device, peak_memory_mb
from ncfm._utils.files import write_text
from ncfm._utils.locks import taking_turns
from ncfm.results.rows import AccuracyRow

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

COLUMNS = tuple(f.name for f in fields(AccuracyRow))


@dataclass(frozen=True)
class Conditions:
    """What a measurement ran under; kept with its scores, so that a row written later still tells of it."""

    device: str
    threads: int
    peak_memory_mb: float
    command: str
    commit: str
    date: str

    @classmethod
    def here(cls, device: torch.device) -> Conditions:
        """Those of this process, now."""
        return cls(
            describe_device(device),
            torch.get_num_threads(),
            peak_memory_mb(device),
            command_line(),
            code_version(),
            today(),
        )


def command_line() -> str:
    """The command that runs, as one would type it: the program and whole paths by their names, wherever they lie."""
    main = getattr(sys.modules.get("__main__"), "__spec__", None)
    arguments = [_without_place(argument) for argument in sys.argv[1:]]
    if main is not None and main.name.startswith("benchmarks."):
        return shlex.join(["python", "-m", main.name, *arguments])  # as benchmarks are called
    program = Path(sys.argv[0]).name
    return shlex.join(["ncfm" if program == "__main__.py" else program, *arguments])


def _without_place(argument: str) -> str:
    """An argument as it is, but a path from the root by its last part: rows are for other machines than this one."""
    if Path(argument).is_absolute():
        return Path(argument).name or argument
    option, equals, value = argument.rpartition("=")
    return option + equals + Path(value).name if Path(value).is_absolute() and Path(value).name else argument


def append_rows(path: Path, rows: Sequence[DataclassInstance]) -> None:
    """Append rows to a CSV file, making it with its header if needed; the file is replaced whole.

    A measurement that the file already has is not written twice: a comparison that is called again takes its finished
    scores from its folder, to the last digit of their times, and they are no new evidence.

    A file of an earlier version lacks columns: they are added, empty in its rows.

    Raises:
        NcfmError: if the file has columns that this version does not know.
    """
    columns = tuple(f.name for f in fields(rows[0])) if rows else COLUMNS
    cells = [{key: _cell(value) for key, value in asdict(row).items()} for row in rows]
    with taking_turns(path):
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        before = csv.DictReader(io.StringIO(text))
        if set(before.fieldnames or ()) - set(columns):
            raise NcfmError(f"{path} has other columns than this version writes; expected {','.join(columns)}.")
        whole = [{column: row.get(column) or "" for column in columns} for row in before]
        known = {_measurement(row) for row in whole}
        buffer = io.StringIO()
        writer = csv.DictWriter(buffer, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows([*whole, *(row for row in cells if _measurement(row) not in known)])
        write_text(path, buffer.getvalue())


def _measurement(row: Mapping[str, str]) -> tuple[str, ...]:
    """What a row measured, without the process that wrote it down."""
    aside = ("command", "commit", "date", "peak_memory_mb", "threads", "iterations", "distill_memory_mb", "storage")
    return tuple(value for column, value in row.items() if column not in aside)


def read_rows(path: Path) -> list[dict[str, str]]:
    """All rows of a results file, as text.

    Raises:
        NcfmError: if it is missing; NcfmFailure if it is damaged.
    """
    if not path.is_file():
        raise NcfmError(f"Expected a results file {path}, but there is none.")
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error) as error:
        raise NcfmFailure(f"Could not read {path} as a table: {error}.") from error


def latest(rows: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Of rows that measured the same thing the last one, in the order of their first appearance."""
    what = ("dataset", "ipc", "method", "variant", "network", "protocol", "seed")
    return list({tuple(row[column] for column in what): row for row in rows}.values())


def _cell(value: object) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


@cache
def code_version() -> str:
    """The commit of the code that is running, with ``+changes`` if its files differ from it; else the version.

    Found out once: a long run must not be credited to a commit made while it was under way.
    """
    folder = Path(__file__).parent
    try:
        commit = _git("rev-parse", "--short=12", "HEAD", folder=folder)
        changed = _git("status", "--porcelain", "--untracked-files=no", ".", folder=folder.parent)
    except (OSError, subprocess.CalledProcessError):
        return version("ncfm")
    return commit + ("+changes" if changed else "")


def library_versions() -> dict[str, str]:
    """Python's version, and those of the libraries that compute."""
    return {"python": platform.python_version(), **{name: version(name) for name in ("ncfm", "torch", "numpy")}}


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def today() -> str:
    """The date in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()
