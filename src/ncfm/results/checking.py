"""Checks of the files that receive results, made before the work: a result must not be lost at the last step."""

from __future__ import annotations

import csv
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from ncfm._utils.checks import InputError
from ncfm._utils.writable import check_writable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def check_results(path: str | Path | None, row: type[DataclassInstance]) -> None:
    """Check that rows of a kind can be appended to a results file; None needs none.

    Raises:
        InputError: if it cannot be written, is no CSV file, or has columns that these rows do not have.
    """
    if path is None:
        return
    path = Path(path)
    check_writable(path, "a results file")
    if not path.is_file():
        return
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header = next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"Expected a results file in CSV, got {path}: {error}. Name another file.") from error
    unknown = [column for column in header if column not in {f.name for f in fields(row)}]
    if unknown:
        raise InputError(
            f"{path} has columns that this version does not know ({', '.join(unknown[:5])}); expected those of "
            f"{row.__name__}. Name another results file."
        )
