"""The entries of a ledger: a file that says of each published set what it was made from and how it is stored."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, check_known
from ncfm.synthetic.folders import FACTS_FILE

ENTRIES_FILE = "ledger.toml"


@dataclass(frozen=True)
class LedgerEntry:
    """One published set. In the file it is a table that is named like the set's file or folder."""

    path: Path
    on: str | None = None  # the real data; None: those that a set of ncfm records
    normalized_by: str | None = None  # as in `ncfm.evaluate`
    factor: int | None = None  # as in `ncfm.evaluate`
    labels: str | None = None  # as the setting ``evaluate.labels``
    method: str = ""
    published: float | None = None  # accuracy in percent, as published
    source: str = ""  # where the set and the number are from
    note: str = ""
    left_out: str = ""  # why the set cannot be evaluated

    @property
    def is_own(self) -> bool:
        """Whether ncfm wrote the set."""
        return (self.path / FACTS_FILE).is_file()


def read_entries(folder: Path, file: Path | None = None) -> tuple[list[LedgerEntry], list[str]]:
    """The sets of a folder.

    Args:
        folder: with published sets, as files or folders.
        file: with their entries; default: ``ledger.toml`` in the folder. Sets of ncfm need no entry.

    Returns:
        The entries of the sets that are there, by name, and the names of what has no entry.

    Raises:
        InputError: for a missing folder, a damaged file, or unknown keys.
    """
    if not folder.is_dir():
        raise InputError(f"Expected a folder of sets at {folder}, but there is none.")
    tables = _tables(file if file is not None else folder / ENTRIES_FILE, required=file is not None)
    found, others = [], []
    for path in sorted(folder.iterdir()):
        entry = LedgerEntry(path, **tables.get(path.name, {}))
        if path.name in tables or entry.is_own:
            found.append(entry)
        elif path.name != ENTRIES_FILE and not path.name.startswith("."):
            others.append(path.name)
    if not found:
        raise InputError(
            f"{folder}: no set has an entry in {ENTRIES_FILE}; a set needs two lines, such as "
            '["images_best.pt"] and on = "cifar10".'
        )
    return found, others


def _tables(file: Path, *, required: bool) -> Mapping[str, Mapping[str, Any]]:
    """The tables of an entries file, checked; none if the file may be missing, and is."""
    if not required and not file.is_file():
        return {}
    try:
        tables: dict[str, Any] = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"Could not read the entries {file}: {error}.") from error
    keys = [f.name for f in fields(LedgerEntry) if f.name != "path"]
    for name, table in tables.items():
        if not isinstance(table, Mapping):
            raise InputError(f'{file}: expected a table per set, such as ["images_best.pt"], found {name!r}.')
        for key in table:
            check_known(key, keys, f"key of {name}")
    return tables


def missing_of(entries: Sequence[LedgerEntry], only: Sequence[str]) -> Iterator[str]:
    """Names that were asked for, and have no entry."""
    known = {entry.path.name for entry in entries}
    yield from (name for name in only if name not in known)
