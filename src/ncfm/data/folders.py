"""Image folders: one folder per class, below folders of the splits if these exist."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm.data.raw import Encoded, RawSplit
from ncfm.data.split_names import left_unread, shortened, split_of

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm"})


def read_folder(root: Path) -> dict[str, RawSplit]:
    """The splits of an image folder; classes are the names of the folders, in sorted order.

    Folders whose names say a split (see `split_of`) are splits if they contain the folders of the classes. Without such
    a training folder all folders are classes, also one called "train", as in CIFAR-100.

    Raises:
        NcfmError: if there are no folders, or it is not clear which are splits.
    """
    folders = _folders(root)
    named: dict[str, list[Path]] = {}
    for folder in folders:
        split = _split_of_folder(folder)
        if split is not None:
            named.setdefault(split, []).append(folder)
    splits = {split: [folder for folder in found if _folders(folder)] for split, found in named.items()}
    if not splits.get("train"):
        if named.get("train") and len(named) > 1 and sum(map(len, named.values())) == len(folders):
            raise InputError(
                f"{root}: expected a folder per class in {shortened([p.name for p in folders])}, found none in them."
            )
        return {"train": _read_classes(root)}
    splits.pop("extra", None)
    unread = named.get("extra", [])
    for split, found in splits.items():
        if len(found) > 1:
            raise InputError(
                f"{root}: {shortened([p.name for p in found])} are all folders of the {split} split; keep one."
            )
    chosen = {split: found[0] for split, found in splits.items() if found}
    others = [p for p in folders if p not in chosen.values() and p not in unread and _has_images(p)]
    if others and len(chosen) == 1:
        raise InputError(
            f"{root}: {chosen['train'].name} may be the training split, or a class like "
            f"{shortened([p.name for p in others])}; move the other folders away, or all classes into a folder train."
        )
    remarks = left_unread("next to the training folder", (p.name for p in [*others, *unread]))
    return {
        split: replace(_read_classes(p), remarks=remarks if split == "train" else ()) for split, p in chosen.items()
    }


def _split_of_folder(folder: Path) -> str | None:
    try:
        return split_of(folder.name)
    except InputError:  # the name of a class, such as "test train"
        return None


def _has_images(folder: Path) -> bool:
    return any(p.suffix.lower() in IMAGE_SUFFIXES and _visible(p, folder) for p in folder.rglob("*"))


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
