"""Sets of image files: a folder per class, parquet files, and the soft labels that lie next to the images."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.files import read_json
from ncfm.data.assembly import Request, Wanted
from ncfm.data.decoding import SizesDiffer
from ncfm.data.image_set import ImageSet
from ncfm.data.places import read_path
from ncfm.data.raw import LABEL_COLUMNS, find_column
from ncfm.data.split_names import split_of
from ncfm.formats.array_files import SOFT_KEYS, read_labels_file
from ncfm.formats.class_names import unique_names
from ncfm.formats.export_facts import CLASSES_FILE, CLASSES_FORMAT, Recorded, read_facts
from ncfm.formats.parquet import FACTS_KEY

SOFT_FILES = ("soft_labels.pt", "labels.pt", "soft_labels.npy", "labels.npy")  # in a folder of classes, as DD-Ranking


class ImageFiles(NamedTuple):
    """The images of a set, sorted by class, and what lies next to them."""

    images: Tensor  # (n, c, s, s) uint8
    labels: Tensor  # (n,) positions in the recorded class names
    soft: Tensor | None  # (n, K) soft labels
    recorded: Recorded
    notes: tuple[str, ...]


def read_image_files(path: Path, channels: int | None = None) -> ImageFiles:
    """Read a folder with a folder per class, a parquet file, or a folder of them; with the facts of an export.

    Soft labels are a column of the parquet files (`SOFT_KEYS`), or a file in the folder (`SOFT_FILES`), in the order of
    the sorted folders and files.

    Args:
        path: of the set.
        channels: that files keep if they store so many, see `ncfm.data.load_images`; default: grey or RGB.

    Raises:
        NcfmError: if images cannot be read, or differ in size.
    """
    found = _load(path, channels)
    recorded, folders = _facts(path)
    names, labels = _named(found, recorded, folders)
    split = "" if found.test is None else f"{path}: its test split is left unread."
    soft = _soft_file(path)
    read = ("train: no images of class", *([f"train: 1 file left unread: 1 {soft.suffix}"] if soft else []))
    problems = [f"{path}: {line}" for line in found.problems if not line.startswith(read)]
    notes = tuple(note for note in (*problems, split) if note)
    return ImageFiles(found.train.images, labels, _soft(path), recorded._replace(class_names=names), notes)


def _load(path: Path, channels: int | None) -> ImageSet:
    as_they_are = Wanted(image_size=None, channels=channels, max_unreadable=0.0)  # never resized in silence
    try:
        found = read_path(Request(str(path), None, as_they_are))  # never a dataset that has the folder's name
    except SizesDiffer as error:
        raise InputError(f"{str(error).partition(';')[0]}; save them square and of one size.") from error
    assert found is not None
    return found


def _named(found: ImageSet, recorded: Recorded, folders: Mapping[str, str]) -> tuple[tuple[str, ...], Tensor]:
    """Class names and labels: those of the export with all its classes, or of the files."""
    all_names = unique_names(recorded.class_names or ())
    names = [folders.get(name, name) for name in found.class_names]  # some are not names for a file system
    if not set(names) <= set(all_names):
        return found.class_names, found.train.labels
    place = {name: i for i, name in enumerate(all_names)}
    return all_names, torch.tensor([place[name] for name in names])[found.train.labels]


def _facts(path: Path) -> tuple[Recorded, Mapping[str, str]]:
    """What an export records, and its class names by folder."""
    index = {} if path.is_file() else _index(path)
    tables = [path] if path.is_file() else _parquet_files(path)
    if tables and not index:
        return read_facts(_parquet_facts(tables[0]), str(tables[0])), {}
    recorded = read_facts(index, str(path / CLASSES_FILE))
    names, folders = unique_names(recorded.class_names or ()), index.get("folders")
    if not isinstance(folders, list) or len(folders) != len(names):
        return recorded, {}
    return recorded, dict(zip(map(str, folders), names, strict=True))


def recorded_index(folder: Path) -> Recorded:
    """What the index of an exported folder records; nothing, if ncfm did not write the folder."""
    return read_facts(_index(folder), str(folder / CLASSES_FILE))


def _index(folder: Path) -> Mapping[str, Any]:
    found = read_json(folder / CLASSES_FILE) if (folder / CLASSES_FILE).is_file() else None
    return found if isinstance(found, dict) and found.get("format") == CLASSES_FORMAT else {}


def _parquet_facts(path: Path) -> Mapping[str, Any]:
    import pyarrow.parquet as pq

    with contextlib.suppress(ValueError):  # an entry of another program
        found = json.loads((pq.read_schema(path).metadata or {}).get(FACTS_KEY, b"{}"))
        if isinstance(found, dict):
            return found
    return {}


def _soft(path: Path) -> Tensor | None:
    """Soft labels in the order of the images, which are sorted by class; None if there are none."""
    files = [path] if path.is_file() else _parquet_files(path)
    if files:
        return _soft_column(files)
    found = _soft_file(path)
    return None if found is None else read_labels_file(found, path.name)


def _soft_file(folder: Path) -> Path | None:
    """The file of soft labels in a folder of classes."""
    return next((folder / name for name in SOFT_FILES if (folder / name).is_file()), None)


def _parquet_files(folder: Path) -> list[Path]:
    """The files of the training split, as `ncfm.data.places` finds them."""
    files = sorted(folder.glob("*.parquet")) or sorted((folder / "data").glob("*.parquet"))
    return [f for f in files if split_of(f.stem) == "train"] or [f for f in files if split_of(f.stem) is None]


def _soft_column(files: list[Path]) -> Tensor | None:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    names = pq.read_schema(files[0]).names
    column = next((name for name in SOFT_KEYS if name in names), None)
    if column is None:
        return None
    label = find_column(names, None, LABEL_COLUMNS, "label", str(files[0]))
    try:
        table = pa.concat_tables([pq.read_table(file, columns=[label, column]) for file in files])
        cells = table[column].combine_chunks()
        lengths = set(pc.list_value_length(cells).to_pylist())
        flat = np.asarray(cells.flatten().to_numpy(zero_copy_only=False), dtype=np.float32)
    except (pa.ArrowException, OSError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise InputError(f"Could not read the soft labels of {files[0]}, column {column!r}: {error}.") from error
    if len(lengths) != 1 or cells.null_count or flat.size == 0:
        raise InputError(f"{files[0]}: expected a list of as many numbers in every row of column {column!r}.")
    order = np.argsort(np.array(table[label].to_pylist()), kind="stable")
    return torch.from_numpy(flat.reshape(len(table), -1)[order])
