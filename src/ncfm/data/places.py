"""Images on this machine: parquet files, IDX files, and image folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from ncfm.data.assembly import Request, Wanted, load_files
from ncfm.data.folders import listing, read_folder
from ncfm.data.idx import has_idx, idx_files, read_idx_folder
from ncfm.data.image_set import ImageSet
from ncfm.data.parquet import read_parquets
from ncfm.data.raw import Splits


class Reading(NamedTuple):
    """How the files of a folder are read."""

    columns: tuple[str | None, str | None] = (None, None)  # of images and of labels, in tables; None: the usual names
    class_names: tuple[str, ...] | None = None  # where the files only number the classes
    part: str | None = None  # name of the part of the classes that `select` takes; None: all
    select: Callable[[Splits], Splits] = lambda splits: splits


class Found(NamedTuple):
    """The images of a folder, not yet decoded."""

    files: Sequence[Path]  # that the pixels depend on
    options: tuple[Any, ...]  # what else they depend on
    read: Callable[[], Splits]
    root: Path | None = None  # the folder whose structure gives the labels; None if the files hold them


def read_path(request: Request) -> ImageSet | None:
    """The source for paths: a parquet file, or a folder of any of the `LAYOUTS`."""
    path = Path(request.name).expanduser()
    if path.is_file() and path.suffix == ".parquet":
        return load_files(request.name, [path], ("parquet",), lambda: read_parquets([path]), request.wanted)
    return load_place(request.name, path, Reading(), request.wanted) if path.is_dir() else None


def load_place(name: str, place: Path, reading: Reading, wanted: Wanted) -> ImageSet:
    """The set called ``name`` from a folder, by the first layout that fits.

    Raises:
        NcfmError: for files that cannot be read, or a folder without images.
    """
    found = next(found for found in (layout(place, reading) for layout in LAYOUTS) if found is not None)
    return load_files(name, found.files, found.options, found.read, wanted, found.root)


def _parquet(place: Path, reading: Reading) -> Found | None:
    files = sorted(place.glob("*.parquet")) or sorted((place / "data").glob("*.parquet"))  # the hub's own layout
    if not files:
        return None
    options = _with_part(("parquet", *reading.columns), reading)
    return Found(files, options, lambda: reading.select(read_parquets(files, *reading.columns)))


def _idx(place: Path, reading: Reading) -> Found | None:
    if not has_idx(place):
        return None
    read = partial(read_idx_folder, place, reading.class_names)
    return Found(idx_files(place), _with_part(("idx", reading.class_names), reading), lambda: reading.select(read()))


def _folder(place: Path, reading: Reading) -> Found | None:
    splits = reading.select(read_folder(place))
    images = [image for raw in splits.values() for image in raw.images if isinstance(image, Path)]
    files = [image for image in images if image.exists()]  # not broken links, which decoding reports
    remarks = [remark for raw in splits.values() for remark in raw.remarks]
    return Found(files, ("folder", *listing(place), *remarks), lambda: splits, root=place)


def _with_part(options: tuple[Any, ...], reading: Reading) -> tuple[Any, ...]:
    return options if reading.part is None else (*options, reading.part)


LAYOUTS: tuple[Callable[[Path, Reading], Found | None], ...] = (_parquet, _idx, _folder)
"""Layouts of folders, in the order in which they are tried; the last one fits every folder, or raises."""
