"""SVHN, cropped digits, as it is published: MATLAB files of images (32, 32, 3, n) and labels; label 10 is the digit 0.

Reference:
    Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS Workshop 2011,
    http://ufldl.stanford.edu/housenumbers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.choice import assign_splits
from ncfm.data.layout import Found, Reading, with_remarks
from ncfm.data.raw import RawSplit, Splits
from ncfm.data.split_names import left_unread

TRAIN = "train_32x32.mat"
DIGITS = tuple("0123456789")


def find_svhn(place: Path, reading: Reading) -> Found | None:
    """The layout of a folder with ``train_32x32.mat`` and ``test_32x32.mat``."""
    if not (place / TRAIN).is_file():
        return None
    files = {path.name: path for path in sorted(place.glob("*_32x32.mat"))}
    assigned = assign_splits(list(files), reading.choice, str(place))
    names = assigned.single(str(place))

    def read() -> Splits:
        splits = {split: read_mat(files[name]) for split, name in names.items()}
        return with_remarks(splits, left_unread("next to the training file", assigned.unread))

    return Found("MATLAB files of SVHN", [files[name] for name in names.values()], read)


def read_mat(path: Path) -> RawSplit:
    """One split.

    Raises:
        NcfmError: for a file that cannot be read, or has other arrays.
    """
    from scipy.io import loadmat  # comes with scikit-learn; slow to import

    try:
        found = loadmat(path, variable_names=("X", "y"))
    except Exception as error:  # the reader of a damaged file may fail anywhere
        raise InputError(f"Could not read {path} as a MATLAB file: {error}.") from error
    images, labels = found.get("X"), found.get("y")
    if images is None or images.dtype != np.uint8 or images.ndim != 4 or images.shape[2] != 3:
        raise InputError(f"{path}: expected bytes (h, w, 3, n) under 'X', found {getattr(images, 'shape', 'none')}.")
    if labels is None or labels.size != images.shape[3]:
        raise InputError(
            f"{path}: expected {counted(images.shape[3], 'label')} under 'y', found {getattr(labels, 'size', 0)}."
        )
    numbers = labels.ravel().astype(np.int64) % 10  # 10 is the digit 0
    return RawSplit(list(images.transpose(3, 0, 1, 2)), numbers.tolist(), DIGITS)
