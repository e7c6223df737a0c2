"""Tiny-ImageNet as unpacked: ``train/<WordNet id>/images``, and ``val/images`` with ``val/val_annotations.txt``.

Classes are the WordNet ids in sorted order, as on the hub. The folder ``test`` has no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.folders import listing, read_folder
from ncfm.data.layout import Found, Reading, choose_splits, has_folders, images_below, is_image, with_remarks
from ncfm.data.raw import RawSplit, Splits

ANNOTATIONS = "val_annotations.txt"


def find_tiny_imagenet(place: Path, reading: Reading) -> Found | None:
    """The layout of the folder ``tiny-imagenet-200``, also with its validation images sorted into class folders."""
    annotations = place / "val" / ANNOTATIONS
    if not annotations.is_file() or not has_folders(place / "train"):
        return None
    splits = choose_splits(read_tiny_imagenet(place), reading.choice, place)
    return Found(
        "Tiny-ImageNet",
        [annotations, *images_below(splits)],
        lambda: splits,
        tuple(listing(place / "train")),
        root=place,
    )


def read_tiny_imagenet(place: Path) -> Splits:
    """The splits.

    Raises:
        NcfmError: for validation images without a line of the annotations, or of a class without a training folder.
    """
    train = read_folder(place / "train", "images")["train"]
    names = train.class_names or ()
    sorted_below = (folder for folder in (place / "val", place / "val" / "images") if (folder / names[0]).is_dir())
    folder = next(sorted_below, None)
    validation = _annotated(place / "val", names) if folder is None else _in_folders(folder, names)
    return with_remarks({"train": train, "validation": validation}, _unread(place))


def _in_folders(folder: Path, names: Sequence[str]) -> RawSplit:
    """Validation images in class folders, as training code often sorts them."""
    found = [(path, c) for c, name in enumerate(names) for path in sorted((folder / name).rglob("*")) if is_image(path)]
    return RawSplit([path for path, _ in found], [label for _, label in found], tuple(names))


def _annotated(folder: Path, names: Sequence[str]) -> RawSplit:
    """Validation images in one folder, with the classes of the annotations."""
    number = {name: index for index, name in enumerate(names)}
    labels = _annotations(folder / ANNOTATIONS)
    images = sorted(path for path in (folder / "images").glob("*") if is_image(path))
    faulty = [path.name for path in images if labels.get(path.name) not in number]
    if faulty:
        raise InputError(
            f"{folder}: {ANNOTATIONS} has no class of the training folders for {counted(len(faulty), 'image')}, "
            f"such as {faulty[0]}."
        )
    return RawSplit(images, [number[labels[path.name]] for path in images], tuple(names))


def _annotations(path: Path) -> dict[str, str]:
    """WordNet ids by file name; a line is the name, the id and a box, separated by tabs."""
    lines = path.read_text(encoding="utf-8").splitlines()
    fields = [line.split("\t") for line in lines if line.strip()]
    if any(len(parts) < 2 for parts in fields):
        raise InputError(f"{path}: expected lines of a file name and a class, separated by a tab.")
    return {parts[0]: parts[1] for parts in fields}


def _unread(place: Path) -> list[str]:
    test = place / "test" / "images"
    count = sum(is_image(path) for path in test.iterdir()) if test.is_dir() else 0
    return [f"left unread: {counted(count, 'image')} without labels in test"] if count else []
