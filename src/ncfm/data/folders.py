"""Image folders: one folder per class, below ``train`` and ``test`` (or ``val``) if these exist."""

from __future__ import annotations

from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm.data.assembly import TEST_NAMES, TRAIN_NAMES
from ncfm.data.raw import Encoded, RawSplit

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


def read_folder(root: Path) -> dict[str, RawSplit]:
    """The splits of an image folder; classes are the names of the folders, in sorted order.

    Raises:
        NcfmError: if there are no folders.
    """
    below = {p.name.lower(): p for p in _folders(root)}
    train = next((below[n] for n in TRAIN_NAMES if n in below), None)
    others = below.keys() - {*TRAIN_NAMES, *TEST_NAMES}
    if train is None or (others and not _folders(train)):  # otherwise "train" is a class, as in CIFAR-100
        return {"train": _read_classes(root)}
    splits = {"train": _read_classes(train)}
    test = next((below[n] for n in TEST_NAMES if n in below), None)
    if test is not None:
        splits["test"] = _read_classes(test)
    return splits


def listing(root: Path) -> list[str]:
    """All folders below ``root``, including classes without images."""
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_dir())


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _read_classes(root: Path) -> RawSplit:
    folders = _folders(root)
    if not folders:
        raise InputError(f"{root}: expected a folder per class (or parquet files), found no folders.")
    images: list[Encoded] = []
    labels: list[int] = []
    for index, folder in enumerate(folders):
        found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and _visible(p, folder))
        images += found
        labels += [index] * len(found)
    return RawSplit(images, labels, tuple(p.name for p in folders))


def _visible(path: Path, root: Path) -> bool:
    """Whether no part of the path below ``root`` is hidden: editors and archives leave hidden copies of images."""
    return not any(part.startswith(".") for part in path.relative_to(root).parts)
