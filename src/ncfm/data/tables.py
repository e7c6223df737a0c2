"""Images with tables: CSV files that name images and their labels, such as ``train.csv`` or ``labels.csv``.

A table names each image by path or name, with or without suffix, and has one label for each. Its split is in its name
or folder, or in a column ``split``. If it is not clear which columns these are, the folder is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.archives import is_archive
from ncfm.data.choice import assign_splits, clear_split_of
from ncfm.data.image_index import ImageIndex
from ncfm.data.layout import Found, Reading, few_folders, has_folders, is_image, with_remarks
from ncfm.data.raw import RawSplit
from ncfm.data.split_names import left_unread, shortened
from ncfm.data.table_file import SUFFIXES, Table, open_table

SUBMISSION = "submission"  # Kaggle's example of an answer: its labels are none


class Listed(NamedTuple):
    """The images and labels of a split, in the order of the table."""

    images: list[Path]
    labels: list[str]


def find_tables(place: Path, reading: Reading) -> Found | None:
    """The layout of a folder with tables of its images, next to them or in the folders of the splits.

    Raises:
        NcfmError: if it is not clear which columns hold images and labels, or whether folders or tables are meant.
    """
    paths = _paths(place)
    if not paths:
        return None
    index = ImageIndex(place)
    tables = [open_table(path, index, reading.columns) for path in paths]
    of_images = [table for table in tables if table.image_column is not None]
    labelled = [table for table in of_images if table.label_column is not None]
    if not labelled:
        _check_no_tables(index, of_images or tables, reading)
        return None
    groups = {name: (table, rows) for table in labelled for name, rows in table.groups(place).items()}
    assigned = assign_splits(list(groups), reading.choice, str(place))
    listed = {split: _listed(*groups[name], index, split) for split, name in assigned.single(str(place)).items()}
    if reading.columns[1] is None and "train" in listed:
        _check_folders(place, listed["train"], labelled[0])
    images = [image for found in listed.values() for image in found.images]
    remarks = [
        *(remark for table in labelled for remark in table.remarks),
        *left_unread("next to the table of the training split", assigned.unread),
        *left_unread("since they have no labels", (t.path.name for t in of_images if t not in labelled)),
        *_not_named(index, images),
    ]
    splits = with_remarks(_numbered(listed), remarks)
    used = [table.path for table in labelled]
    return Found("images with tables", [*used, *images], lambda: splits, has_columns=True, root=place)


def _paths(place: Path) -> list[Path]:
    """The tables of a folder and of the folders of its splits."""
    folders = [place, *(folder for folder in few_folders(place) if clear_split_of(folder.name))]
    found = (path for folder in folders if folder.is_dir() for path in sorted(folder.iterdir()))
    return [p for p in found if p.suffix.lower() in SUFFIXES and p.is_file() and SUBMISSION not in p.name.lower()]


def _check_no_tables(index: ImageIndex, tables: Sequence[Table], reading: Reading) -> None:
    """Check that tables without images or labels may lie next to class folders.

    Raises:
        NcfmError: if there are no class folders, columns are chosen, or a table names images and there are none.
    """
    table = tables[0]
    what = "image" if table.image_column is None else "label"
    if what == "image" and table.name_columns and _has_files_alone(index.root):
        raise InputError(
            f"{table.path}: expected the images of column {table.name_columns[0]} next to it, found none; "
            "give the folder that holds the table and its images."
        )
    if reading.choice.columns == (None, None) and (what == "image" or len(_class_folders(index.images)) > 1):
        return
    raise InputError(
        f"{table.path}: it is not clear which column holds the {what}s; choose one with --{what}-column NAME "
        f"(columns: {', '.join(table.columns)})."
    )


def _has_files_alone(place: Path) -> bool:
    """Whether a folder has neither folders nor images nor archives, in which a dataset may be."""
    return not has_folders(place) and not any(is_image(path) or is_archive(path) for path in place.iterdir())


def _class_folders(images: Sequence[Path]) -> list[Path]:
    """The folders that hold images and may be classes."""
    return sorted({path.parent for path in images if clear_split_of(path.parent.name) is None})


def _listed(table: Table, rows: Sequence[dict[str, str]], index: ImageIndex, split: str) -> Listed:
    """The images and labels of some rows.

    Raises:
        NcfmError: for images that do not exist, and for several labels or none of an image.
    """
    assert table.image_column is not None
    assert table.label_column is not None
    label_of: dict[Path, str] = {}
    missing = []
    for row in rows:
        name, label = row[table.image_column], row[table.label_column].strip()
        image = index.find(name, table.path.parent, split)
        if image is None:
            missing.append(name)
        elif not label:
            raise InputError(f"{table.path}: {name!r} has no label in column {table.label_column!r}.")
        elif label_of.setdefault(image, label) != label:
            raise InputError(f"{table.path}: {name!r} has several labels; only one for each image is supported.")
    if missing:
        raise InputError(
            f"{table.path} names {len(missing)} of {len(rows)} images that do not exist, such as {missing[0]!r}; "
            "add them, or remove their rows."
        )
    return Listed(list(label_of), list(label_of.values()))


def _check_folders(place: Path, train: Listed, table: Table) -> None:
    """Check that folders and labels say the same, if both may be the classes.

    Raises:
        NcfmError: if they do not.
    """
    folders = _class_folders(train.images)
    pairs = {(image.parent, label) for image, label in zip(train.images, train.labels, strict=True)}
    if len(folders) > 1 and not len(pairs) == len(folders) == len(set(train.labels)):
        raise InputError(
            f"{place}: the classes may be the folders {shortened([p.name for p in folders], 3)}, or column "
            f"{table.label_column} of {table.path.name}; choose --label-column NAME, or move the table away."
        )


def _not_named(index: ImageIndex, images: Sequence[Path]) -> list[str]:
    """A remark on the images that no table names."""
    others = sorted(set(index.images) - set(images))
    if not others:
        return []
    folders = sorted({str(p.parent.relative_to(index.root)) for p in others})
    return [f"left unread: {counted(len(others), 'image')} that no table names, in {shortened(folders)}"]


def _numbered(listed: dict[str, Listed]) -> dict[str, RawSplit]:
    """The splits with numbers for labels: their own, or those of their names in sorted order."""
    names = sorted({label for found in listed.values() for label in found.labels})
    if all(name.isdecimal() and str(int(name)) == name for name in names):
        return {split: RawSplit(f.images, [int(label) for label in f.labels], None) for split, f in listed.items()}
    number = {name: index for index, name in enumerate(names)}
    return {
        split: RawSplit(found.images, [number[label] for label in found.labels], tuple(names))
        for split, found in listed.items()
    }
