"""ImageNet-1K as unpacked: class folders for training, and a flat folder of validation images with a list of labels.

Kaggle's archive has ``ILSVRC/Data/CLS-LOC`` with ``train/<WordNet id>`` and ``val``, and next to ``ILSVRC`` the list
``LOC_val_solution.csv``. The original files have ``ILSVRC2012_validation_ground_truth.txt``, whose numbers ``meta.mat``
of the development kit explains. Without a list, the flat folder is left unread.

Reference:
    Russakovsky et al., "ImageNet Large Scale Visual Recognition Challenge", IJCV 2015.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.choice import clear_split_of
from ncfm.data.folders import listing, read_folder
from ncfm.data.layout import (
    Found,
    Reading,
    choose_splits,
    few_folders,
    has_folders,
    has_images,
    images_below,
    is_image,
    with_remarks,
)
from ncfm.data.raw import RawSplit, Splits

SPLITS = "CLS-LOC"  # the folder that has train, val and test
IMAGES = (f"ILSVRC/Data/{SPLITS}", f"Data/{SPLITS}", SPLITS, ".")
SOLUTION = "LOC_val_solution.csv"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"
META = "meta.mat"
KIT = ("", "data/", "ILSVRC2012_devkit_t12/data/")  # where the development kit has its files
LEVELS_UP = 3  # from CLS-LOC to the folder that has ILSVRC


def find_imagenet(place: Path, reading: Reading) -> Found | None:
    """The layout of ImageNet-1K, known by its folders or by a list of labels."""
    root = next((place / name for name in IMAGES if (place / name / "train").is_dir()), None)
    if root is None or (root == place and root.name != SPLITS and not _lists(root, root / "val")):
        return None
    return _find(root, reading, "ImageNet")


def find_flat_tests(place: Path, reading: Reading) -> Found | None:
    """The layout of class folders for training, and folders of test images without labels, which are left unread."""
    return _find(place, reading, "class folders next to images without labels")


def _find(root: Path, reading: Reading, layout: str) -> Found | None:
    """Class folders in the training folder, next to folders of images for validation and testing."""
    folders: dict[str | None, list[Path]] = {}
    for folder in few_folders(root):
        folders.setdefault(clear_split_of(folder.name), []).append(folder)
    train, others = folders.get("train", []), [*folders.get("validation", []), *folders.get("test", [])]
    flat = [folder for folder in others if has_images(folder)]
    if len(train) != 1 or not has_folders(train[0]) or not flat or flat != others:
        return None
    splits, remarks = _with_validation(root, read_folder(train[0])["train"], flat)
    splits = choose_splits(with_remarks(splits, remarks), reading.choice, root)
    labels = [tuple(raw.labels) for raw in splits.values()]  # those of the list are not in the structure of the folder
    return Found(layout, images_below(splits), lambda: splits, (*listing(train[0]), *labels), root=root)


def _with_validation(root: Path, train: RawSplit, flat: Sequence[Path]) -> tuple[Splits, list[str]]:
    """The splits, and remarks on folders without labels."""
    splits, remarks = {"train": train}, []
    for folder in flat:
        found = _lists(root, folder) if clear_split_of(folder.name) == "validation" else []
        images = [path for path in sorted(folder.iterdir()) if is_image(path)]
        if not found:
            remarks.append(f"left unread: {counted(len(images), 'image')} without labels in {folder.name}")
            continue
        labels = _solution(found[0]) if found[0].name == SOLUTION else _ground_truth(*found)
        splits["validation"] = _labelled(folder, images, labels, train.class_names or ())
    return splits, remarks


def _labelled(folder: Path, images: Sequence[Path], labels: dict[str, str], class_names: Sequence[str]) -> RawSplit:
    """Images with their labels, which are WordNet ids by file name without suffix.

    Raises:
        NcfmError: for an image without a label, or a label without a training folder.
    """
    number = {name: index for index, name in enumerate(class_names)}
    unlabelled = [path.name for path in images if path.stem not in labels]
    if unlabelled:
        raise InputError(
            f"{folder}: the list of labels lacks {counted(len(unlabelled), 'image')}, such as {unlabelled[0]}."
        )
    unknown = sorted({labels[path.stem] for path in images} - number.keys())
    if unknown:
        raise InputError(
            f"{folder}: the list of labels has {counted(len(unknown), 'class')} without a training folder: "
            f"{unknown[0]}."
        )
    return RawSplit(list(images), [number[labels[path.stem]] for path in images], tuple(class_names))


def _lists(root: Path, folder: Path) -> list[Path]:
    """The nearest list of labels: Kaggle's, or the two files of the development kit; empty if there is none."""
    above = root.resolve().parents[:LEVELS_UP] if root.name == SPLITS else ()
    for place in (folder, root, *above):
        for names in ((SOLUTION,), *((f"{kit}{GROUND_TRUTH}", f"{kit}{META}") for kit in KIT)):
            if all((place / name).is_file() for name in names):
                return [place / name for name in names]
    return []


def _solution(path: Path) -> dict[str, str]:
    """Kaggle's list: the name of an image, and boxes of which each begins with the WordNet id."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"ImageId", "PredictionString"} <= rows[0].keys():
        raise InputError(f"{path}: expected columns ImageId and PredictionString.")
    return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows if row["PredictionString"]}


def _ground_truth(path: Path, meta: Path) -> dict[str, str]:
    """The development kit's list: the number of a class for each image, in the order of their names."""
    from scipy.io import loadmat  # comes with scikit-learn; slow to import

    try:
        ids = {int(synset[0]): str(synset[1]) for synset in loadmat(meta, squeeze_me=True)["synsets"]}
        numbers = [int(line) for line in path.read_text(encoding="ascii").split()]
        return {f"ILSVRC2012_val_{i:08d}": ids[number] for i, number in enumerate(numbers, 1)}
    except Exception as error:  # the reader of a damaged file may fail anywhere
        raise InputError(f"Could not read {path} with {meta}: {error!r}.") from error


def find_imagenette(place: Path, reading: Reading) -> Found | None:
    """The layout of fast.ai's Imagenette and Imagewoof: class folders, and a table of wrong labels that is not read."""
    if not any(place.glob("noisy_image*.csv")) or not (place / "train").is_dir():
        return None
    splits = choose_splits(read_folder(place), reading.choice, place)
    return Found("class folders of fast.ai", images_below(splits), lambda: splits, tuple(listing(place)), root=place)
