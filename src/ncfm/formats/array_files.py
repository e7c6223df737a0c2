"""Images and labels from files of arrays, in the layouts of published programs. No code in a file is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ncfm._utils.checks import InputError, RunError, describe
from ncfm._utils.files import read_tensors

IMAGE_KEYS = ("images", "image", "x", "x_train", "data", "image_syn", "images_train", "arr_0")
LABEL_KEYS = ("labels", "label", "y", "y_train", "targets", "label_syn", "labels_train", "arr_1")
SOFT_KEYS = ("probabilities", "soft_labels", "soft_label", "probs", "logits")
REPETITIONS = "data"  # DC, DSA, DM: {"data": [[images, labels], ...], "accs_all_exps": ...}
IMAGE_WORDS, LABEL_WORDS = ("images", "image"), ("labels", "label")  # in the names of two files that belong together


class Arrays(NamedTuple):
    """The content of a file, as it is stored."""

    images: Tensor
    labels: Tensor | None  # None: the file has none
    notes: tuple[str, ...] = ()  # what was chosen among several
    soft: Tensor | None = None  # soft labels in addition to the labels
    facts: Mapping[str, Any] = MappingProxyType({})  # plain values of the file by name, such as the names of classes


def read_arrays(path: Path) -> Arrays:
    """Images and labels of a ``.npz``, ``.npy``, ``.pt``, ``.pth`` or ``.safetensors`` file.

    Read are arrays by name (`IMAGE_KEYS`, `LABEL_KEYS`, `SOFT_KEYS`), a pair (images, labels), images alone with the
    labels in a second file of the same folder ("images_best.pt" and "labels_best.pt", as MTT, DATM and others save
    them), and lists of such pairs under "data" (``res_*.pt`` of DC, DSA and DM), of which the first is taken.

    Raises:
        InputError: for another suffix or layout.
        RunError: if the file is damaged, or could run code.
    """
    found = _content(path)
    if isinstance(found, Mapping) and isinstance(found.get(REPETITIONS), Sequence):
        return _first_repetition(found[REPETITIONS], path)
    if isinstance(found, Tensor):
        return _with_partner(found, path)
    if _is_pair(found):
        return Arrays(found[0], found[1])
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: expected images and labels, found {describe(found)}.")
    by_name = {str(key).lower(): value for key, value in found.items() if isinstance(value, Tensor)}
    images, labels, soft = (
        next((by_name[key] for key in keys if key in by_name), None) for keys in (IMAGE_KEYS, LABEL_KEYS, SOFT_KEYS)
    )
    if images is None:
        raise InputError(
            f"{path}: expected images named {', '.join(IMAGE_KEYS)}, found {', '.join(by_name) or 'none'}."
        )
    if labels is None:
        labels, soft = soft, None
    return Arrays(images, labels, soft=soft, facts=_plain(found))


def partner(path: Path) -> Path | None:
    """The file of labels that belongs to a file of images, by its name; None if the name says nothing.

    >>> partner(Path("images_best.pt")).name, partner(Path("set.pt"))
    ('labels_best.pt', None)
    """
    for images, labels in zip(IMAGE_WORDS, LABEL_WORDS, strict=True):
        if images in path.name:
            return path.with_name(labels.join(path.name.rsplit(images, 1)))
    return None


def _plain(found: Mapping[Any, Any]) -> dict[str, Any]:
    """The values of a file that are no arrays."""
    single = {key: value.item() for key, value in found.items() if isinstance(value, Tensor) and value.ndim == 0}
    others = {key: value for key, value in found.items() if not isinstance(value, Tensor)}
    return {str(key): value for key, value in (single | others).items()}


def _with_partner(images: Tensor, path: Path) -> Arrays:
    """Images whose labels may lie in a second file."""
    other = partner(path)
    if other is None:
        return Arrays(images, None)
    files = [file for file in (other, other.with_name(f"soft_{other.name}")) if file.is_file()]
    if not files:
        return Arrays(images, None)
    labels, *soft = (read_labels_file(file, path.name) for file in files)
    names = " and ".join(file.name for file in files)
    return Arrays(images, labels, (f"{path}: the labels are those of {names}.",), soft=soft[0] if soft else None)


def read_labels_file(path: Path, images: str) -> Tensor:
    """A file of labels alone; ``images`` names what they belong to."""
    labels = _content(path)
    if not isinstance(labels, Tensor):
        raise InputError(f"{path}: expected the labels of {images}, found {describe(labels)}.")
    return labels


def _first_repetition(repetitions: Sequence[Any], path: Path) -> Arrays:
    """The first of the sets in a file of results."""
    if not repetitions or not _is_pair(repetitions[0]):
        raise InputError(f"{path}: expected pairs (images, labels) under {REPETITIONS!r}.")
    images, labels = repetitions[0]
    notes = () if len(repetitions) == 1 else (f"{path}: the first of its {len(repetitions)} sets is read.",)
    return Arrays(images, labels, notes)


def _is_pair(found: Any) -> bool:
    return isinstance(found, Sequence) and len(found) == 2 and all(isinstance(part, Tensor) for part in found)


def _content(path: Path) -> Any:
    """What a file contains: a tensor, or tensors in dictionaries and lists."""
    if path.suffix not in READERS:
        raise InputError(
            f"{path}: expected a folder with one folder of images per class, or a file ending in .parquet, "
            f"{', '.join(READERS)}."
        )
    return READERS[path.suffix](path)


def _read_numpy(path: Path) -> Tensor | dict[str, Any]:
    try:
        found = np.load(path, allow_pickle=False)
        arrays = {"": found} if isinstance(found, np.ndarray) else {key: found[key] for key in found.files}
        arrays = {key: array for key, array in arrays.items() if isinstance(array, np.ndarray)}  # others are bytes
    except Exception as error:  # a damaged archive may raise anything
        raise RunError(f"Could not read {path}: {error}. Arrays of objects are not loaded.") from error
    texts = {key: array.tolist() for key, array in arrays.items() if array.dtype.kind == "U"}
    tensors = {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "uifb"}
    return tensors.get("", tensors | texts)


def _read_torch(path: Path) -> Any:
    try:
        with torch.serialization.safe_globals(_numpy_numbers()):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle may raise anything
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise RunError(
            f"Could not read {path} as plain tensors: {reason} "
            "Files that could run code are not loaded; save a dictionary of tensors."
        ) from error


def _numpy_numbers() -> list[Any]:
    """What `torch.load` has to know for NumPy's numbers: DC, DSA and DM save accuracies next to the images."""
    scalar = np.float64(0).__reduce__()[0]
    types = {type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")}
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), np.dtype, *types]  # by the names of NumPy 2 and 1


READERS: dict[str, Callable[[Path], Any]] = {
    ".npz": _read_numpy,
    ".npy": _read_numpy,
    ".pt": _read_torch,
    ".pth": _read_torch,
    ".safetensors": read_tensors,
}
