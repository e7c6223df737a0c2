"""Sets in external formats: image folders, parquet files, and files of arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError, check_labels
from ncfm._utils.files import read_json
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.image_set import ImageSet, to_float
from ncfm.data.sources import load_images
from ncfm.formats.array_files import LABEL_KEYS, partner, read_arrays
from ncfm.formats.normalization import to_pixels
from ncfm.synthetic.storage import FACTS_FILE, is_run

CLASSES_FILE, CLASSES_FORMAT = "classes.json", "ncfm-export"  # the index of classes in an exported folder


def is_set(path: str | Path) -> bool:
    """Whether `ncfm.load` reads this path, or says why not: a set or run of ncfm, or a path that does not exist."""
    path = Path(path).expanduser()
    has_set = any((folder / FACTS_FILE).is_file() for folder in (path, path / "synthetic"))
    return has_set or not path.exists() or is_run(path)


class External(NamedTuple):
    """A set that another program wrote."""

    images: LabelledImages
    notes: tuple[str, ...]  # what was chosen, done to its pixels, or is missing
    shown: Statistics | None = None  # how networks are shown them; None: as the real data are


def read_external(path: Path, real: ImageSet, *, normalized_by: str | None = None) -> External:
    """Read a set that another program wrote.

    Folders (one folder per class) and parquet files are read like datasets. Their classes are matched by name, in an
    export of ncfm by the recorded name, or by number if they have no other names. Files of arrays are read by
    `read_arrays`. Images are uint8 or floats in [0, 1], channels first or last, flat or (C, ipc, ...), in which case
    labels may be missing. Many published sets are stored normalised: floats outside [0, 1] need the name of their
    normalisation, see `to_pixels`.

    Args:
        path: of the set.
        real: the real data, for classes and image shape.
        normalized_by: how floats were normalised, see `to_pixels`.

    Returns:
        Images (n, c, h, w) and labels (n,) in the order of the real data's classes, and what was done to the pixels.

    Raises:
        NcfmError: if the file is missing, damaged or of another format, or does not match the data.
    """
    path = path.expanduser()
    if path.is_dir() or path.suffix == ".parquet":
        if normalized_by not in (None, "none"):
            raise InputError(f"{path}: image files are pixels; leave out normalized_by={normalized_by}.")
        images = _from_source(path, real)
        return External(images, _nonempty(_missing(images, real, path)))
    if not path.is_file():
        raise InputError(f"Expected a set at {path}, but there is none.")
    arrays = read_arrays(path)
    stored = _fitted(arrays.images, arrays.labels, real, path)
    pixels = to_pixels(stored.images, real, normalized_by=normalized_by, where=str(path))
    images = stored._replace(images=pixels.images)
    notes = _nonempty(*arrays.notes, pixels.note, _missing(images, real, path))
    return External(images, notes, pixels.shown)


def _nonempty(*notes: str) -> tuple[str, ...]:
    return tuple(note for note in notes if note)


def _missing(images: LabelledImages, real: ImageSet, path: Path) -> str:
    """A note on classes without images; empty if there are none."""
    present = set(images.labels.tolist())
    missing = [name for i, name in enumerate(real.class_names) if i not in present]
    if not missing:
        return ""
    named = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
    return f"{path}: {len(missing)} of {real.num_classes} classes have no images: {named}."


def _from_source(path: Path, real: ImageSet) -> LabelledImages:
    """An image folder or parquet file, its classes matched with those of the real data."""
    found = load_images(str(path), image_size=real.image_size, channels=real.channels)
    numbers = {name: i for i, name in enumerate(unique_names(real.class_names))}
    folders = _exported_folders(path)
    if folders is not None and set(found.class_names) <= folders.keys():  # names that a file system does not accept
        found = replace(found, class_names=tuple(folders[name] for name in found.class_names))
    if not set(found.class_names) <= numbers.keys():
        numbers = {str(i): i for i in range(real.num_classes)}
    unknown = [name for name in found.class_names if name not in numbers]
    if unknown:
        raise InputError(
            f"{path} has classes that are missing from {real.name}: {', '.join(unknown[:5])}. Known: "
            f"{', '.join(real.class_names[:10])}{', ...' if real.num_classes > 10 else ''}; or numbers from 0."
        )
    at = torch.tensor([numbers[name] for name in found.class_names])
    return LabelledImages(to_float(found.train.images), at[found.train.labels])


def unique_names(class_names: Sequence[str]) -> tuple[str, ...]:
    """Distinct class names: the second "crane" is called "crane (2)".

    >>> unique_names(["crane", "dog", "crane"])
    ('crane', 'dog', 'crane (2)')
    """
    names: list[str] = []
    for name in class_names:
        own, number = name, 1
        while own in names or (number > 1 and own in class_names):
            number += 1
            own = f"{name} ({number})"
        names.append(own)
    return tuple(names)


def _exported_folders(path: Path) -> dict[str, str] | None:
    """Class names by folder, if ncfm exported the images; else None."""
    index = read_json(path / CLASSES_FILE) if (path / CLASSES_FILE).is_file() else None
    if not isinstance(index, dict) or index.get("format") != CLASSES_FORMAT or "folders" not in index:
        return None
    return dict(zip(index["folders"], unique_names(index["class_names"]), strict=True))


def _fitted(images: Tensor, labels: Tensor | None, real: ImageSet, path: Path) -> LabelledImages:
    """Images, as they are stored, and labels in the form of this package."""
    shape = (real.channels, real.image_size, real.image_size)
    if labels is None and images.ndim == 5 and len(images) == real.num_classes:
        labels = torch.arange(real.num_classes).repeat_interleave(images.shape[1])
    if labels is None:
        other = partner(path)
        raise InputError(
            f"{path}: expected labels named {', '.join(LABEL_KEYS)},{f' or a file {other.name},' if other else ''} or "
            f"images of shape ({real.num_classes}, ipc, {', '.join(map(str, shape))}), got images of shape "
            f"{tuple(images.shape)} without labels."
        )
    if images.ndim == 5:
        images = images.flatten(0, 1)
    if images.ndim == 3 and real.channels == 1:
        images = images[:, None]
    if images.ndim == 4 and images.shape[1:] != shape and images.shape[1:] == (*shape[1:], shape[0]):
        images = images.permute(0, 3, 1, 2)
    if labels.ndim == 2 and labels.shape[1] == real.num_classes > 1 and labels.is_floating_point():
        raise InputError(f"{path}: expected class indices as labels, got soft labels {tuple(labels.shape)}.")
    labels = labels.flatten()
    if images.shape[1:] != shape or len(images) != len(labels):
        raise InputError(
            f"{path}: expected images of shape (n, {', '.join(map(str, shape))}) as {real.name} has, with n labels; "
            f"got {tuple(images.shape)} with {len(labels)} labels."
        )
    if labels.is_floating_point() and not torch.equal(labels, labels.round()):
        raise InputError(f"{path}: expected class indices as labels, got {labels.dtype} with fractions.")
    labels = labels.long()
    check_labels(labels, real.num_classes)
    return LabelledImages(images.contiguous(), labels)
