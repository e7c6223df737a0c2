"""Images on this machine: files and folders of any of the layouts."""

from __future__ import annotations

from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm.data.archives import is_archive, unpack
from ncfm.data.assembly import Request, Wanted, load_files
from ncfm.data.choice import Choice, assign_splits, clear_split_of
from ncfm.data.cifar import find_cifar
from ncfm.data.folders import listing, read_folder
from ncfm.data.idx import find_idx
from ncfm.data.image_set import ImageSet
from ncfm.data.imagenet import find_flat_tests, find_imagenet, find_imagenette
from ncfm.data.layout import Found, Layout, Reading, few_folders, has_folders, has_images, images_below, with_remarks
from ncfm.data.npz import find_npz
from ncfm.data.parquet import find_parquets
from ncfm.data.pixel_tables import find_pixel_tables
from ncfm.data.raw import Splits
from ncfm.data.split_names import left_unread, shortened
from ncfm.data.svhn import find_svhn
from ncfm.data.tables import find_tables
from ncfm.data.tiny_imagenet import find_tiny_imagenet

LAYOUTS: tuple[Layout, ...] = (
    find_parquets,
    find_cifar,
    find_idx,
    find_svhn,
    find_npz,
    find_pixel_tables,
    find_tiny_imagenet,
    find_imagenet,
    find_imagenette,
    find_tables,
    find_flat_tests,
)
"""Layouts of files and folders, in the order in which they are tried. A new layout is a function in its own file, and a
line here. What fits none of them is a folder of class folders."""
ONE_DOWN: tuple[Layout, ...] = (find_cifar, find_idx, find_svhn, find_npz, find_pixel_tables, find_tiny_imagenet)
"""Those that are also looked for one folder down; parquet files look there themselves."""


def read_path(request: Request) -> ImageSet | None:
    """The source for paths: a file or folder of any of the `LAYOUTS`, or an archive of one."""
    path = Path(request.name).expanduser()
    if not path.exists():
        return None
    return load_place(request.name, path, Reading().with_choice(request.choice), request.wanted)


def load_place(name: str, place: Path, reading: Reading, wanted: Wanted) -> ImageSet:
    """The set called ``name`` from a file or folder, by the first layout that fits.

    Raises:
        NcfmError: for files that cannot be read, or a folder without images.
    """
    found = find_layout(place, reading)
    if reading.choice.columns != (None, None) and not found.has_columns:
        raise InputError(
            f"{place} is read as: {found.layout}. It has no columns; leave out --image-column and --label-column."
        )

    def read() -> Splits:
        return reading.select(with_remarks(found.read(), reading.remarks))

    options = (found.layout, *found.options, reading.columns, reading.choice, reading.class_names, reading.part)
    return load_files(name, found.files, (*options, reading.remarks), read, wanted, found.root).read_as(found.layout)


def find_layout(place: Path, reading: Reading) -> Found:
    """What is in a file or folder.

    Raises:
        NcfmError: for a file of no layout, or several datasets one folder down.
    """
    if is_archive(place):
        inside = find_layout(unpack(place), reading)
        return inside._replace(layout=f"{inside.layout}, in an archive", files=[place], root=None)
    found = _first(place, reading)
    if found is not None:
        return found
    snapshot = _snapshot(place)
    if snapshot is not None:
        return find_layout(snapshot, reading)
    if place.is_file():
        raise InputError(
            f"{place} is not a file of a known layout; expected a parquet file, .npz, a table of pixels (.csv), an "
            "archive (.zip, .tar, .tar.gz), or a folder."
        )
    if not has_folders(place) and not has_images(place):
        archive = _only_archive(place)
        if archive is not None:
            return find_layout(archive, reading)
    return _in_only_folder(place, reading) or _one_down(place, reading) or _folder(place, reading)


def _snapshot(place: Path) -> Path | None:
    """The current snapshot in a folder of the hub's own cache, ``datasets--owner--name``; None for other folders."""
    main = place / "refs" / "main"
    if not (place / "snapshots").is_dir() or not main.is_file():
        return None
    snapshot = place / "snapshots" / main.read_text(encoding="ascii", errors="replace").strip()
    return snapshot if snapshot.is_dir() else None


def _only_archive(place: Path) -> Path | None:
    """The archive in a folder that has nothing else to read.

    Raises:
        NcfmError: if there are several, as in the original archive of ImageNet.
    """
    archives = sorted(path for path in place.iterdir() if is_archive(path))
    if len(archives) > 1:
        raise InputError(
            f"{place} has several archives: {shortened([p.name for p in archives])}; pass the path of one of them, or "
            "unpack each into a folder of its name."
        )
    return archives[0] if archives else None


def _first(place: Path, reading: Reading) -> Found | None:
    return next((found for layout in LAYOUTS if (found := layout(place, reading)) is not None), None)


def _in_only_folder(place: Path, reading: Reading) -> Found | None:
    """What is in the only folder of a folder, as archives and downloads have one; None if it is a split or a class."""
    folders = few_folders(place)
    if len(folders) != 1 or clear_split_of(folders[0].name) or has_images(place):
        return None
    inside = _first(folders[0], reading)
    if inside is None and few_folders(folders[0]):
        inside = find_layout(folders[0], reading)
    return inside and inside.at(folders[0].name)


def _one_down(place: Path, reading: Reading) -> Found | None:
    """A dataset of a layout with files of its own in one of several folders, none of which has images.

    Raises:
        NcfmError: if there are several.
    """
    folders = few_folders(place)
    if any(has_images(folder) for folder in folders):
        return None
    fits = {f: found for f in folders for layout in ONE_DOWN if (found := layout(f, reading)) is not None}
    if len(fits) > 1:
        raise InputError(
            f"{place} has several datasets: {shortened([f.name for f in fits])}; pass the path of one of them, "
            f"such as {next(iter(fits))}."
        )
    for folder, found in fits.items():
        others = [f.name for f in folders if f != folder]
        return found.at(folder.name, left_unread("next to the dataset", others))
    return None


def _folder(place: Path, reading: Reading) -> Found:
    """A folder for each class, below folders of the splits if there are any."""
    splits = _chosen_folders(place, reading.choice) if reading.choice.splits else read_folder(place)
    files = [image for image in images_below(splits) if image.exists()]  # not broken links, which decoding reports
    remarks = [remark for raw in splits.values() for remark in raw.remarks]
    return Found("a folder for each class", files, lambda: splits, (*listing(place), *remarks), root=place)


def _chosen_folders(place: Path, choice: Choice) -> Splits:
    names = [path.name for path in sorted(place.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    assigned = assign_splits(names, choice, str(place))
    splits = {split: read_folder(place / name)["train"] for split, name in assigned.single(str(place)).items()}
    return with_remarks(splits, left_unread("next to the training folder", assigned.unread))
