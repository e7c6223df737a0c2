"""What the files of a set hold, before it is matched with the real data."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm.data.archives import is_archive
from ncfm.data.channels import GREY, RGB
from ncfm.data.image_set import ImageSet
from ncfm.formats.array_files import LABEL_KEYS, Arrays, partner, read_arrays
from ncfm.formats.export_facts import Recorded, read_facts
from ncfm.formats.image_files import read_image_files, recorded_index
from ncfm.formats.set_folders import file_of_folder, labels_by_epoch


class Stored(NamedTuple):
    """What the files of a set hold, see `read_stored`."""

    images: Tensor  # (n, c, h, w) uint8 or floats
    labels: Tensor  # positions in the recorded class names, if there are any, or a row of numbers per image
    soft: Tensor | None  # (m, K) soft labels in addition to the labels
    recorded: Recorded
    notes: tuple[str, ...]


def read_stored(path: Path, real: ImageSet, normalized_by: str | None) -> Stored:
    """The content of a file or folder, with the axes of the images in this package's order.

    Args:
        path: of the set.
        real: the real data, which tell channels from sides.
        normalized_by: as the caller gives it; image files are pixels.

    Raises:
        NcfmError: if the file is missing, damaged or of another format.
    """
    if is_archive(path):
        raise InputError(f"{path} is an archive; unpack it, and give the folder or file of the set in it.")
    if not path.is_dir() and path.suffix != ".parquet":
        return _from_arrays(path, real, Recorded())
    if not path.exists():
        raise InputError(f"Expected a set at {path}, but there is none.")
    of_epochs = ""
    if path.is_dir():
        of_epochs = labels_by_epoch(path)
        file = None if path.suffix == ".parquet" else file_of_folder(path)
        if file is not None:
            return _from_arrays(file, real, recorded_index(path))
    if normalized_by not in (None, "none"):
        raise InputError(f"{path}: image files are pixels; leave out normalized_by={normalized_by}.")
    found = read_image_files(path, None if real.channels in (GREY, RGB) else real.channels)
    images = found.images
    if real.channels == RGB and images.shape[1] == GREY:  # grey files in colour, without loss
        images = images.expand(-1, RGB, -1, -1)
    return Stored(images, found.labels, found.soft, found.recorded, (*found.notes, of_epochs))


def _from_arrays(path: Path, real: ImageSet, recorded: Recorded) -> Stored:
    """The content of a file of arrays; ``recorded`` is what lies next to it."""
    if not path.is_file():
        raise InputError(f"Expected a set at {path}, but there is none.")
    arrays = read_arrays(path)
    own = read_facts(arrays.facts, str(path))
    recorded = own if recorded == Recorded() else recorded
    names = len(recorded.class_names or real.class_names)
    return Stored(
        _channels_first(arrays.images, real), _labels(arrays, names, real, path), arrays.soft, recorded, arrays.notes
    )


def _channels_first(images: Tensor, real: ImageSet) -> Tensor:
    """Images as (n, c, h, w) from any of the layouts."""
    shape = (real.channels, real.image_size, real.image_size)
    if images.ndim == 5:
        images = images.flatten(0, 1)
    if images.ndim == 3 and real.channels == 1:
        images = images[:, None]
    channels_last = images.ndim == 4 and images.shape[-1] == shape[0] != images.shape[1]
    return images.permute(0, 3, 1, 2) if channels_last else images


def _labels(arrays: Arrays, num_classes: int, real: ImageSet, path: Path) -> Tensor:
    """The labels of a file; those of images (C, ipc, c, h, w) may be missing."""
    images = arrays.images
    if arrays.labels is not None:
        return arrays.labels
    if images.ndim == 5 and len(images) == num_classes:
        return torch.arange(num_classes).repeat_interleave(images.shape[1])
    other = partner(path)
    shape = (real.channels, real.image_size, real.image_size)
    raise InputError(
        f"{path}: expected labels named {', '.join(LABEL_KEYS)},{f' or a file {other.name},' if other else ''} or "
        f"images of shape ({num_classes}, ipc, {', '.join(map(str, shape))}), got images of shape "
        f"{tuple(images.shape)} without labels."
    )
