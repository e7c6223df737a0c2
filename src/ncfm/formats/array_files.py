"""Images and labels from files of arrays, in the layouts of published programs. No code in a file is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from torch import Tensor

from ncfm._utils.checks import InputError, RunError, describe
from ncfm._utils.tensors import dense, is_dense
from ncfm.data.split_names import shortened
from ncfm.formats.array_readers import READERS, Unread

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
        InputError: for another suffix or layout, and tensors that are not dense.
        RunError: if the file is damaged, or could run code.
    """
    found = _content(path)
    if isinstance(found, Mapping) and isinstance(found.get(REPETITIONS), Sequence):
        return _first_repetition(found[REPETITIONS], path)
    if isinstance(found, (Tensor, Unread)):
        return _with_partner(_usable(found, str(path)), path)
    if _is_pair(found):
        return Arrays(*_usable_pair(found, path))
    if not isinstance(found, Mapping):
        raise InputError(f"{path}: expected images and labels, found {describe(found)}.")
    return _by_name(found, path)


def _by_name(found: Mapping[Any, Any], path: Path) -> Arrays:
    """Images and labels of a dictionary."""
    by_name = {str(key).lower(): value for key, value in found.items() if isinstance(value, (Tensor, Unread))}
    kinds = (IMAGE_KEYS, LABEL_KEYS, SOFT_KEYS)
    names = [next((key for key in keys if key in by_name), None) for keys in kinds]
    if names[0] is None:
        raise InputError(
            f"{path}: expected images named {', '.join(IMAGE_KEYS)}, found {shortened([*by_name]) or 'none'}."
        )
    images, labels, soft = (None if key is None else _usable(by_name[key], f"{path}: {key}") for key in names)
    assert images is not None
    if labels is None:
        labels, soft = soft, None
    unread = [key for key, value in by_name.items() if isinstance(value, Unread)]
    notes = [f"{path}: left unread, since they are not numbers: {shortened(unread)}."] if unread else []
    return Arrays(images, labels, tuple(notes), soft, _plain(found))


def _usable(value: Tensor | Unread, where: str) -> Tensor:
    """A dense tensor of numbers.

    Raises:
        InputError: for any other tensor.
        RunError: for an array that is not loaded.
    """
    if isinstance(value, Unread):
        raise RunError(value.why)
    return dense(value, where)


def _usable_pair(pair: Sequence[Tensor], path: Path) -> tuple[Tensor, Tensor]:
    return _usable(pair[0], f"{path}: the images"), _usable(pair[1], f"{path}: the labels")


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
    """The values of a file that are not arrays."""
    tensors = {key: value for key, value in found.items() if isinstance(value, Tensor)}
    single = {key: value.item() for key, value in tensors.items() if is_dense(value) and value.ndim == 0}
    others = {key: value for key, value in found.items() if not isinstance(value, (Tensor, Unread))}
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
    if not isinstance(labels, (Tensor, Unread)):
        raise InputError(f"{path}: expected the labels of {images}, found {describe(labels)}.")
    return _usable(labels, str(path))


def _first_repetition(repetitions: Sequence[Any], path: Path) -> Arrays:
    """The first of the sets in a file of results."""
    if not repetitions or not _is_pair(repetitions[0]):
        raise InputError(f"{path}: expected pairs (images, labels) under {REPETITIONS!r}.")
    images, labels = _usable_pair(repetitions[0], path)
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
