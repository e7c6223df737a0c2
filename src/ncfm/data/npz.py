"""NumPy archives of one whole dataset: MedMNIST, and the files of Keras.

Keys are ``train_images`` and ``train_labels``, also with ``val_`` and ``test_`` (MedMNIST), or ``x_train`` and
``y_train`` (Keras). Images are bytes (n, h, w) or (n, h, w, 3), labels whole numbers (n,) or (n, 1).

Reference:
    Yang et al., "MedMNIST v2: a large-scale lightweight benchmark for 2D and 3D biomedical image classification",
    Scientific Data 2023.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.choice import assign_splits
from ncfm.data.layout import Found, Reading, with_remarks
from ncfm.data.numpy_files import names_in, read_member
from ncfm.data.raw import RawSplit, Splits
from ncfm.data.split_names import left_unread, shortened

FORMS = (("{}_images", "{}_labels"), ("x_{}", "y_{}"))
SPLITS = ("train", "val", "test")


def find_npz(place: Path, reading: Reading) -> Found | None:
    """The layout of a ``.npz`` file, or of a folder with one.

    Raises:
        NcfmError: for a folder with several, or a file without such keys.
    """
    files = sorted(place.glob("*.npz")) if place.is_dir() else [place] if place.suffix == ".npz" else []
    if not files:
        return None
    path = files[0]
    if len(files) > 1:
        raise InputError(
            f"{place} has several datasets: {shortened([p.name for p in files])}; pass the path of one of them."
        )
    keys = _keys(path)
    if not keys:
        if place.is_dir():  # arrays of something else among images
            return None
        raise InputError(f"{path}: expected arrays train_images and train_labels, found {shortened(names_in(path))}.")
    assigned = assign_splits(list(keys), reading.choice, str(path))
    chosen = assigned.single(str(path))

    def read() -> Splits:
        splits = {split: _read_split(path, *keys[name]) for split, name in chosen.items()}
        return with_remarks(splits, left_unread("next to the training split", assigned.unread))

    return Found("arrays of a .npz file", [path], read)


def _keys(path: Path) -> dict[str, tuple[str, str]]:
    """The keys of images and labels by split."""
    names = names_in(path)
    for images, labels in FORMS:
        pairs = {split: (images.format(split), labels.format(split)) for split in SPLITS}
        found = {split: pair for split, pair in pairs.items() if set(pair) <= set(names)}
        if "train" in found:
            return found
    return {}


def _read_split(path: Path, images_key: str, labels_key: str) -> RawSplit:
    images, labels = read_member(path, images_key), read_member(path, labels_key)
    if images.dtype != np.uint8 or not (images.ndim == 3 or (images.ndim == 4 and images.shape[3] in (1, 3))):
        raise InputError(
            f"{path}: expected images of bytes (n, h, w) or (n, h, w, 3) under {images_key!r}, "
            f"got {images.dtype} {images.shape}."
        )
    grey = images[..., 0] if images.shape[3:] == (1,) else images
    return RawSplit(list(grey), _one_each(path, labels, labels_key, len(images)), None)


def _one_each(path: Path, labels: np.ndarray, key: str, count: int) -> list[int]:
    """One label for each image.

    Raises:
        NcfmError: for several labels per image, another number of labels, or labels that are not whole numbers.
    """
    if labels.ndim == 2 and labels.shape[1] > 1:
        raise InputError(
            f"{path.stem} has {counted(labels.shape[1], 'label')} for each image ({key!r} has the shape "
            f"{labels.shape}); only one "
            "label for each image is supported."
        )
    if labels.size != count or labels.dtype.kind not in "iu":
        raise InputError(f"{path}: expected {count} whole numbers under {key!r}, got {labels.dtype} {labels.shape}.")
    found: list[int] = labels.ravel().tolist()
    return found
