"""Parquet files in the layout of Hugging Face: encoded images, labels, and class names in the schema."""

from __future__ import annotations

import json
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError
from ncfm.data.raw import (
    IMAGE_COLUMNS,
    LABEL_COLUMNS,
    Encoded,
    LazyImages,
    RawSplit,
    checked_split,
    encoded_cell,
    find_column,
)
from ncfm.data.split_names import left_unread, split_of
from ncfm.data.walk import printable


def read_parquets(
    files: Sequence[Path], image_column: str | None = None, label_column: str | None = None
) -> dict[str, RawSplit]:
    """Read files, grouped by the split that their names say. Names that say none are the training split, or are left
    unread if others say that they are.

    Raises:
        NcfmError: for files that are not parquet, have no image or label column, or may be of several splits.
    """
    splits: dict[str | None, list[Path]] = {}
    for path in files:
        splits.setdefault(split_of(path.stem), []).append(path)
    unread = splits.pop("extra", [])
    unnamed = splits.pop(None, [])
    if "train" in splits:
        unread += unnamed
    elif unnamed:
        splits["train"] = unnamed
    read = {str(split): _read_split(paths, image_column, label_column) for split, paths in splits.items()}
    if "train" in read:
        remarks = left_unread("next to the training files", (path.name for path in unread))
        read["train"] = replace(read["train"], remarks=remarks)
    return read


def _read_split(paths: Sequence[Path], image_column: str | None, label_column: str | None) -> RawSplit:
    """One split. Its images are read by row group on access, since they may exceed the memory."""
    files = [_open(path) for path in paths]
    place = str(paths[0])
    names = files[0].schema_arrow.names
    image_name = find_column(names, image_column, IMAGE_COLUMNS, "image", place)
    label_name = find_column(names, label_column, LABEL_COLUMNS, "label", place)
    for path, file in zip(paths, files, strict=True):
        if file.schema_arrow.names != names:
            raise InputError(
                f"{path}: expected the columns of {place} ({', '.join(names)}), found "
                f"{', '.join(file.schema_arrow.names)}; the files of a split have the same ones."
            )
    labels = [label for path, file in zip(paths, files, strict=True) for label in _labels(path, file, label_name)]
    class_names, *others = dict.fromkeys(_names_in_schema(file.schema_arrow.metadata, label_name) for file in files)
    if others:
        raise InputError(f"{place} and the other files of its split name their classes differently.")
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

    return checked_split(LazyImages(len(labels), read), labels, label_name, class_names, place)


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
