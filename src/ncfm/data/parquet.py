"""Parquet files in the layout of Hugging Face: encoded images, labels, and class names in the schema."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path

from ncfm._utils.checks import InputError, NcfmError
from ncfm.data.choice import Choice, assign_splits, clear_split_of
from ncfm.data.layout import Found, Reading, few_folders, with_remarks
from ncfm.data.raw import Encoded, LazyImages, RawSplit, Splits, checked_split, encoded_cell, find_columns
from ncfm.data.split_names import left_unread, shortened


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


def _read_split(paths: Sequence[Path], columns: tuple[str | None, str | None]) -> RawSplit:
    """One split. Its images are read by row group on access, since they may exceed the memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        files = [pq.ParquetFile(path, memory_map=True) for path in paths]
        place = str(paths[0])
        names = files[0].schema_arrow.names
        image_name, label_name, remarks = find_columns(names, columns, place)
        if any(file.schema_arrow.names != names for file in files):
            raise pa.ArrowInvalid("their columns differ")
        labels = [label for file in files for label in file.read(columns=[label_name]).column(0).to_pylist()]
    except NcfmError:  # a ValueError, too
        raise
    except (pa.ArrowException, OSError, KeyError, ValueError, MemoryError) as error:
        raise InputError(f"Could not read {', '.join(map(str, paths))} as parquet: {error}.") from error
    class_names, *others = dict.fromkeys(_names_in_schema(file.schema_arrow.metadata, label_name) for file in files)
    if others:
        raise InputError(f"{place} and the other files of its split name their classes differently.")
    groups = [(file, group) for file in files for group in range(file.num_row_groups)]
    ends = list(accumulate(file.metadata.row_group(group).num_rows for file, group in groups))

    @lru_cache(maxsize=2)
    def cells(number: int) -> list[Encoded]:
        file, group = groups[number]
        try:
            values = file.read_row_group(group, columns=[image_name]).column(0).to_pylist()
        except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
            raise InputError(f"Could not read the images of {place}, row group {group}: {error}.") from error
        first = ends[number] - len(values)
        return [encoded_cell(value, place, first + i) for i, value in enumerate(values)]

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


def _names_in_schema(metadata: dict[bytes, bytes] | None, label_name: str) -> tuple[str, ...] | None:
    """Class names from the ``huggingface`` entry of a parquet schema, if it has them."""
    try:
        features = json.loads((metadata or {})[b"huggingface"])["info"]["features"]
        return tuple(str(n) for n in features[label_name]["names"])
    except (KeyError, ValueError, TypeError):
        return None
