"""CSV tables of pixels, as Kaggle has MNIST and Fashion-MNIST: a label, then the grey levels of an image.

Columns are ``label`` and ``pixel0`` to ``pixel783`` (or from ``pixel1``), or ``1x1`` to ``28x28``. A file without
labels, as Kaggle's test files are, is left unread.
"""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.choice import assign_splits
from ncfm.data.layout import Found, Reading, with_remarks
from ncfm.data.raw import LABEL_COLUMNS, RawSplit, Splits, find_column
from ncfm.data.split_names import left_unread, shortened

PIXEL = re.compile(r"pixel_?\d+|\d+x\d+", re.IGNORECASE)
FEWEST = 16  # pixels


def find_pixel_tables(place: Path, reading: Reading) -> Found | None:
    """The layout of a table of pixels, or of a folder with such tables for its splits."""
    candidates = sorted(place.glob("*.csv")) if place.is_dir() else [place] if place.suffix == ".csv" else []
    tables = {path.name: path for path in candidates if len(_pixels(_header(path))) >= FEWEST}
    if not tables:
        return None
    labelled = {n: p for n, p in tables.items() if len(_header(p)) > len(_pixels(_header(p)))}
    assigned = assign_splits(list(labelled), reading.choice, str(place))
    chosen = assigned.single(str(place))
    remarks = [
        *left_unread("next to the training table", assigned.unread),
        *left_unread("since there are no labels", set(tables) - set(labelled)),
    ]

    def read() -> Splits:
        splits = {
            split: read_table(labelled[n], reading.columns[1], reading.class_names) for split, n in chosen.items()
        }
        return with_remarks(splits, remarks)

    return Found("tables of pixels", [labelled[name] for name in chosen.values()], read, has_columns=True)


def _header(path: Path) -> list[str]:
    """The first line of a table; empty if it cannot be read as one."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def _pixels(names: list[str]) -> list[str]:
    return [name for name in names if PIXEL.fullmatch(name)]


def read_table(path: Path, label_column: str | None, class_names: tuple[str, ...] | None) -> RawSplit:
    """One table.

    Raises:
        NcfmError: for a table that cannot be read, or whose images are not square and of bytes.
    """
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = _header(path)
    if len(set(names)) < len(names):
        twice = shortened(sorted({name for name in names if names.count(name) > 1}))
        raise InputError(f"{path}: expected columns of different names, got several of {twice}; rename them.")
    label_name = find_column(
        [n for n in names if n not in _pixels(names)], label_column, LABEL_COLUMNS, "label", str(path)
    )
    pixels = _pixels(names)
    side = math.isqrt(len(pixels))
    if side * side != len(pixels):
        raise InputError(
            f"{path}: expected the pixels of square grey images, found {counted(len(pixels), 'column of pixels')}."
        )
    types: dict[str, Any] = dict.fromkeys(pixels, pa.uint8()) | {label_name: pa.int64()}
    try:
        table = arrow_csv.read_csv(path, convert_options=arrow_csv.ConvertOptions(column_types=types))
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"Could not read {path} as whole numbers, pixels from 0 to 255: {error}.") from error
    if any(table.column(name).null_count for name in types):
        raise InputError(f"{path}: expected a number in every cell, found empty ones.")
    values = np.stack([table.column(name).to_numpy() for name in pixels], axis=1)
    return RawSplit(list(values.reshape(-1, side, side)), table.column(label_name).to_pylist(), class_names)
