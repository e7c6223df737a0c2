"""CIFAR-10 and CIFAR-100 as they are published and as torchvision downloads them: pickled arrays.

Files of CIFAR-10: ``data_batch_1`` to ``data_batch_5``, ``test_batch`` and ``batches.meta``; of CIFAR-100: ``train``,
``test`` and ``meta``. An image is a row of 3072 bytes: 32 x 32 of red, of green and of blue.

Reference:
    Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009,
    https://www.cs.toronto.edu/~kriz/cifar.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.array_pickle import read_array_pickle
from ncfm.data.choice import assign_splits
from ncfm.data.layout import Found, Reading, with_remarks
from ncfm.data.raw import RawSplit, Splits
from ncfm.data.split_names import left_unread

SIDE = 32
BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR10: dict[str, tuple[str, ...]] = {"train": BATCHES, "test": ("test_batch",)}
CIFAR100: dict[str, tuple[str, ...]] = {"train": ("train",), "test": ("test",)}
FINE, COARSE = "fine_label", "coarse_label"
KEYS = {"label": ("labels", "label_names")} | {kind: (f"{kind}s", f"{kind}_names") for kind in (FINE, COARSE)}
"""By column, as on the hub: the keys of the labels and of their names."""


def find_cifar(place: Path, reading: Reading) -> Found | None:
    """The layout of the folders ``cifar-10-batches-py`` and ``cifar-100-python``."""
    if (place / "batches.meta").is_file() and (place / BATCHES[0]).is_file():
        kind, meta, groups = "10", "batches.meta", CIFAR10
    elif all((place / name).is_file() for name in ("meta", "train", "test")):
        kind, meta, groups = "100", "meta", CIFAR100
    else:
        return None
    files = [place / name for name in (meta, *(n for names in groups.values() for n in names))]

    def read() -> Splits:
        column, remarks = _column(place, kind, reading.columns[1])
        assigned = assign_splits(list(groups), reading.choice, str(place))
        names = _dictionary(place / meta, kind).get(KEYS[column][1])
        splits = {
            split: _read_split([place / name for name in groups[group]], kind, column, names)
            for split, group in assigned.single(str(place)).items()
        }
        return with_remarks(splits, (*remarks, *left_unread("next to the training split", assigned.unread)))

    present = [path for path in files if path.is_file()]  # a missing one is an error of reading
    return Found(f"pickles of CIFAR-{kind}", present, read, has_columns=kind == "100")


def _column(place: Path, kind: str, wanted: str | None) -> tuple[str, tuple[str, ...]]:
    """The labels that are read, with a remark if they are guessed."""
    if kind == "10":
        return "label", ()
    if wanted is None:
        return FINE, (f"column {FINE} holds the labels, {COARSE} is left unread (--label-column NAME)",)
    if wanted not in (FINE, COARSE):
        raise InputError(f"{place}: no labels {wanted!r}; choose --label-column {FINE} or {COARSE}.")
    return wanted, ()


def _read_split(paths: Sequence[Path], kind: str, column: str, names: Any) -> RawSplit:
    """The images and labels of some files, joined."""
    parts = [_batch(path, _dictionary(path, kind), KEYS[column][0]) for path in paths]
    images = np.concatenate([pixels for pixels, _ in parts])
    labels = [label for _, found in parts for label in found]
    return RawSplit(list(images), labels, tuple(map(str, names)) if isinstance(names, list) else None)


def _batch(path: Path, found: Mapping[str, Any], key: str) -> tuple[np.ndarray, list[int]]:
    """Pixels (n, 32, 32, 3) and labels of one file."""
    data, labels = found.get("data"), found.get(key)
    labels = labels.tolist() if isinstance(labels, np.ndarray) else labels
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3 * SIDE * SIDE,):
        raise InputError(f"{path}: expected bytes (n, 3072) under 'data', found {getattr(data, 'shape', 'none')}.")
    if not isinstance(labels, list) or len(labels) != len(data):
        raise InputError(f"{path}: expected {counted(len(data), 'label')} under {key!r}, found {len(labels or ())}.")
    return data.reshape(-1, 3, SIDE, SIDE).transpose(0, 2, 3, 1), [int(label) for label in labels]


def _dictionary(path: Path, kind: str) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"Expected a file {path} next to the others of CIFAR-{kind}, but there is none.")
    return read_array_pickle(path, _converter(path, kind))


def _converter(path: Path, kind: str) -> str:
    """A command that writes the whole dataset as one file that `ncfm.data.npz` reads."""
    return (
        'python -c "import numpy as n, torchvision.datasets as d; '
        f"a, b = (d.CIFAR{kind}({str(path.parent.parent)!r}, x) for x in (True, False)); "
        f"n.savez('cifar{kind}.npz', train_images=a.data, train_labels=a.targets, test_images=b.data, "
        'test_labels=b.targets)"'
    )
