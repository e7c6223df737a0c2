"""IDX files, the format of MNIST and Fashion-MNIST.

A file is a magic number (two zero bytes, 8 for unsigned bytes, the number of axes), the length of every axis as 32-bit
big-endian integers, and the bytes. Files may be compressed with gzip.

Reference:
    LeCun, Cortes and Burges, "The MNIST database of handwritten digits", 1998, the file format.
"""

from __future__ import annotations

import gzip
import math
import re
import struct
from collections.abc import Mapping
from io import BufferedIOBase
from pathlib import Path

import numpy as np

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.data.choice import assign_splits
from ncfm.data.layout import Found, Reading, with_remarks
from ncfm.data.raw import RawSplit, Splits
from ncfm.data.split_names import left_unread

NAME = re.compile(r"(?P<stem>.+)-(?P<kind>images|labels)[-.]idx[13]-ubyte(\.gz)?")  # Kaggle writes images.idx3
TEST = "t10k"  # what the test files are called
LARGEST = 2**33  # bytes of pixels that an IDX header may claim
PIECE = 2**20  # bytes that are read at a time


def find_idx(place: Path, reading: Reading) -> Found | None:
    """The layout of a folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte`` and the same for ``t10k``.

    Files may end in ``.gz``, be called ``train-images.idx3-ubyte``, and lie in a folder of their own name, as Kaggle
    has them.
    """
    files = idx_files(place)
    if not any(kind == "images" for _, kind in files):
        return None
    stems = list(dict.fromkeys(stem for stem, _ in files))
    shown = {(f"test/{TEST}" if stem == TEST else stem): stem for stem in stems}  # found by either word
    assigned = assign_splits(list(shown), reading.choice, str(place))
    if "train" not in assigned.splits:  # say which files are missing
        assigned.splits["train"] = ["train"]
    chosen = {split: shown.get(name, name) for split, name in assigned.single(str(place)).items()}

    def read() -> Splits:
        splits = {split: _read_pair(place, files, stem, reading.class_names) for split, stem in chosen.items()}
        return with_remarks(splits, left_unread("next to the training files", assigned.unread))

    return Found("IDX files", [path for (stem, _), path in files.items() if stem in chosen.values()], read)


def idx_files(folder: Path) -> dict[tuple[str, str], Path]:
    """The IDX files of a folder by stem ("train") and kind ("images", "labels"); uncompressed ones go first."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(folder.glob("*-ubyte*"), key=lambda path: (path.suffix == ".gz", path.name)):
        match = NAME.fullmatch(path.name)
        file = path / path.name if path.is_dir() else path
        if match and file.is_file():
            found.setdefault((match["stem"], match["kind"]), file)
    return found


def _read_pair(
    place: Path, files: Mapping[tuple[str, str], Path], stem: str, class_names: tuple[str, ...] | None
) -> RawSplit:
    """One split from its two files.

    Raises:
        NcfmError: for a missing or damaged file.
    """
    images, labels = (files.get((stem, kind)) for kind in ("images", "labels"))
    if images is None or labels is None:
        raise InputError(f"{place}: expected {stem}-images-idx3-ubyte and {stem}-labels-idx1-ubyte (or .gz).")
    pixels, classes = read_idx(images, axes=3), read_idx(labels, axes=1)
    if len(pixels) != len(classes):
        raise InputError(
            f"{place}: {images.name} has {counted(len(pixels), 'image')}, {labels.name} "
            f"{counted(len(classes), 'label')}."
        )
    return RawSplit(list(pixels), classes.tolist(), class_names)


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
