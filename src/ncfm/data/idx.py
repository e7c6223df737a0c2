"""IDX files, the format of MNIST and Fashion-MNIST.

A file is a magic number (two zero bytes, 8 for unsigned bytes, the number of axes), the length of every axis as 32-bit
big-endian integers, and the bytes. Files may be compressed with gzip.

Reference:
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998, the file format.
"""

from __future__ import annotations

import gzip
import math
import struct
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from ncfm._utils.checks import InputError
from ncfm.data.raw import RawSplit

STEMS = {"train": "train", "test": "t10k"}
LARGEST = 2**33  # bytes of pixels that an IDX header may claim
PIECE = 2**20  # bytes that are read at a time


def has_idx(folder: Path) -> bool:
    """Whether the folder has a training split of IDX files."""
    return _find(folder, "train", "images-idx3") is not None


def idx_files(folder: Path) -> list[Path]:
    """The IDX files of a folder."""
    found = (_find(folder, stem, kind) for stem in STEMS.values() for kind in ("images-idx3", "labels-idx1"))
    return [path for path in found if path is not None]


def read_idx_folder(folder: Path, class_names: tuple[str, ...] | None = None) -> dict[str, RawSplit]:
    """The splits of a folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same for ``t10k``.

    Raises:
        NcfmError: for a missing or damaged file.
    """
    splits = {}
    for split, stem in STEMS.items():
        images, labels = (_find(folder, stem, kind) for kind in ("images-idx3", "labels-idx1"))
        if images is None and labels is None and split == "test":
            continue
        if images is None or labels is None:
            raise InputError(f"{folder}: expected {stem}-images-idx3-ubyte and {stem}-labels-idx1-ubyte (or .gz).")
        pixels, classes = read_idx(images, axes=3), read_idx(labels, axes=1)
        if len(pixels) != len(classes):
            raise InputError(f"{folder}: {images.name} has {len(pixels)} images, {labels.name} {len(classes)} labels.")
        splits[split] = RawSplit(list(pixels), classes.tolist(), class_names)
    return splits


def read_idx(path: Path, *, axes: int) -> np.ndarray:
    """The unsigned bytes of one IDX file as an array.

    Args:
        path: of the file.
        axes: expected number of axes.

    Raises:
        NcfmError: if the file is damaged, or has another type or number of axes.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * axes)
            if len(header) != 4 + 4 * axes or header[:4] != bytes([0, 0, 8, axes]):
                raise InputError(f"{path} is not an IDX file of unsigned bytes with {axes} axes.")
            shape = struct.unpack(f">{axes}I", header[4:])
            size = math.prod(shape)
            if size > LARGEST:
                raise InputError(f"{path} claims to have {size} bytes of pixels; refused.")
            data = _read_at_most(file, size + 1)
    except (OSError, EOFError, gzip.zlib.error) as error:  # type: ignore[attr-defined]
        raise InputError(f"Could not read {path}: {error}.") from error
    if len(data) != size:
        raise InputError(f"{path} is damaged: expected {size} bytes after the header, found {len(data)} or more.")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_at_most(file: BufferedIOBase, size: int) -> bytes:
    """Read in pieces: no memory is allocated for bytes that a header claims and the file lacks."""
    found = bytearray()
    while len(found) < size and (piece := file.read(min(PIECE, size - len(found)))):
        found += piece
    return bytes(found)


def _find(folder: Path, stem: str, kind: str) -> Path | None:
    names = (f"{stem}-{kind}-ubyte{end}" for end in ("", ".gz"))
    return next((folder / name for name in names if (folder / name).is_file()), None)
