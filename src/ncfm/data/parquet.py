"""Parquet files in the layout of Hugging Face: encoded images, labels, and class names in the schema."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError
from ncfm.data.choice import Choice, assign_splits, clear_split_of
from ncfm.data.layout import Found, Reading, few_folders, with_remarks
from ncfm.data.raw import Encoded, LazyImages, RawSplit, Splits, checked_split, encoded_cell, find_columns
from ncfm.data.split_names import left_unread, shortened
from ncfm.data.walk import printable


def find_parquets(place: Path, reading: Reading) -> Found | None:
    """The layout of parquet files: a file; files in a folder; or one folder down, as a snapshot of the hub has them.

    A folder of the hub has a folder for each configuration (``plain_text``), which may have one for each split.

    Raises:
        NcfmError: for several configurations.
    """
    if place.is_file():
        files = {place.name: place} if place.suffix == ".parquet" else {}
        root = place
    else:
        root = _configuration(place)
        files = {path.relative_to(root).as_posix(): path for path in _parquets(root) or _in_folders(root)}
    if not files:
        return None
    remarks = left_unread("next to the files", (p.relative_to(root).as_posix() for p in _beside(root, files)))
    where = "" if root == place else f" in {root.relative_to(place).as_posix()}"

    def read() -> Splits:
        return with_remarks(read_parquets(files, reading.columns, reading.choice), remarks)

    return Found(f"parquet files{where}", list(files.values()), read, has_columns=True)


def _parquets(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.parquet"))


def _in_folders(place: Path) -> list[Path]:
    return [path for folder in few_folders(place) for path in _parquets(folder)]


def _beside(root: Path, files: Mapping[str, Path]) -> list[Path]:
    """The parquet files one folder down, if others are read."""
    return [path for path in _in_folders(root) if path not in files.values()]


def _configuration(place: Path) -> Path:
    """The folder with the files of the only configuration, or of its splits.

    Raises:
        NcfmError: if there are several.
    """
    if _parquets(place):
        return place
    folders = [folder for folder in few_folders(place) if _parquets(folder)]
    if any(clear_split_of(folder.name) == "train" for folder in folders):
        return place  # a folder for each split
    folders += [folder for folder in few_folders(place) if folder not in folders and _in_folders(folder)]
    if len(folders) > 1:
        raise InputError(
            f"{place} has several configurations with parquet files: {shortened(sorted(p.name for p in folders))}; "
            f"pass the path of one of them, such as {min(folders)}."
        )
    return folders[0] if folders else place


def read_parquets(
    files: Mapping[str, Path], columns: tuple[str | None, str | None], choice: Choice
) -> dict[str, RawSplit]:
    """Read files, grouped by the split that their names say or the user chooses (see `assign_splits`).

    Args:
        files: by name, such as ``train-00000-of-00002.parquet``.
        columns: of images and of labels; None: the usual names.
        choice: of splits.

    Raises:
        NcfmError: for files that are not parquet, have no image or label column, or may be of several splits.
    """
    assigned = assign_splits(list(files), choice, str(Path(next(iter(files.values()))).parent))
    read = {split: _read_split([files[n] for n in names], columns) for split, names in assigned.splits.items()}
    return with_remarks(read, left_unread("next to the training files", assigned.unread))


def _common_class_names(paths: Sequence[Path], found: Sequence[tuple[str, ...] | None]) -> tuple[str, ...] | None:
    """The class names of all files of a split; None if they name none.

    Raises:
        InputError: if they differ, so that a label would mean one class here and another there.
    """
    first = found[0]
    for path, names in zip(paths, found, strict=True):
        if names != first:
            here, there = (shortened(n) if n else "none" for n in (first, names))
            raise InputError(
                f"{paths[0].parent}: expected the same class names in all files of a split, got {here} in "
                f"{paths[0].name} and {there} in {path.name}; write the files again with one list of names."
            )
    return first


def _read_split(paths: Sequence[Path], columns: tuple[str | None, str | None]) -> RawSplit:
    """One split. Its images are read by row group on access, since they may exceed the memory."""
    files = [_open(path) for path in paths]
    place = str(paths[0])
    names = files[0].schema_arrow.names
    image_name, label_name, remarks = find_columns(names, columns, place)
    for path, file in zip(paths, files, strict=True):
        if file.schema_arrow.names != names:
            raise InputError(
                f"{path}: expected the columns of {place} ({', '.join(names)}), found "
                f"{', '.join(file.schema_arrow.names)}; the files of a split have the same ones."
            )
    labels = [label for path, file in zip(paths, files, strict=True) for label in _labels(path, file, label_name)]
    class_names = _common_class_names(paths, [_names_in_schema(f.schema_arrow.metadata, label_name) for f in files])
    groups = [
        (path, file, group) for path, file in zip(paths, files, strict=True) for group in range(file.num_row_groups)
    ]
    ends = list(accumulate(file.metadata.row_group(group).num_rows for _, file, group in groups))

    @lru_cache(maxsize=2)
    def cells(number: int) -> list[Encoded]:
        path, file, group = groups[number]
        with _reading(path):
            values = file.read_row_group(group, columns=[image_name]).column(0).to_pylist()
        first = sum(file.metadata.row_group(i).num_rows for i in range(group))
        return [encoded_cell(value, str(path), first + i) for i, value in enumerate(values)]

    def read(start: int, stop: int) -> list[Encoded]:
        found: list[Encoded] = []
        while start < stop:
            number = bisect_right(ends, start)
            first = ends[number - 1] if number else 0
            part = cells(number)[start - first : stop - first]
            found += part
            start += len(part)
        return found

    split = checked_split(LazyImages(len(labels), read), labels, label_name, class_names, place)
    return replace(split, remarks=remarks)


def _open(path: Path) -> Any:
    """A parquet file. Arrow refuses paths that are not UTF-8, but not the open file."""
    import pyarrow.parquet as pq

    with _reading(path):
        if printable(str(path)) != str(path):
            return pq.ParquetFile(path.open("rb"))
        return pq.ParquetFile(path, memory_map=True)


def _labels(path: Path, file: Any, name: str) -> list[object]:
    with _reading(path):
        found: list[object] = file.read(columns=[name]).column(0).to_pylist()
        return found


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Name the file in the errors of Arrow, of which some have the path already."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, KeyError, ValueError, MemoryError) as error:
        number = error.errno if isinstance(error, OSError) else None
        text = str(error).replace(str(path), path.name).rstrip(". ")
        cause = os.strerror(number) if number else text or type(error).__name__
        raise InputError(f"Could not read {path} as parquet: {cause}.") from error


def _names_in_schema(metadata: dict[bytes, bytes] | None, label_name: str) -> tuple[str, ...] | None:
    """Class names from the ``huggingface`` entry of a parquet schema, if it has them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(n) for n in features[label_name]["names"])
    except (KeyError, ValueError, TypeError):
        return None
