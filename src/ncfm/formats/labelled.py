"""Images and labels handed over in Python, to be evaluated."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ncfm._utils.checks import InputError, describe
from ncfm._utils.progress import counted
from ncfm._utils.tensors import as_tensor
from ncfm._utils.types import LabelledImages
from ncfm.data.image_set import ImageSet
from ncfm.data.labels import numbered, plain_labels
from ncfm.data.pixels import PixelReader, as_array, check_pixels

WHERE = "The images"


def labelled_images(
    source: Any, real: ImageSet, *, normalized_by: str | None = None
) -> tuple[LabelledImages, tuple[str, ...]]:
    """Images and labels as tensors of this package, and what was assumed for it.

    Whoever has them in Python can say what they are. So floats outside [0, 1] are refused unless ``normalized_by`` says
    what they are; of files small excesses are clamped, and levels divided, see `to_pixels`.

    Args:
        source: a pair (images, labels). Images are arrays, tensors or lists of arrays, (n, c, h, w), (n, h, w, c), or
            (n, h, w) if grey: floats, integers from 0 to 255, or bools. Labels as in `plain_labels`.
        real: the real data, for classes and image shape.
        normalized_by: as in `to_pixels`.

    Returns:
        Images (n, c, h, w), uint8 or float32, and labels (n,); and remarks, one line each.

    Raises:
        InputError: for other forms, floats out of range (with the remedy), and labels that are none of the classes.
    """
    if not isinstance(source, (tuple, list)) or len(source) != 2:
        raise InputError(f"Expected a set, a path, or LabelledImages(images, labels), got {describe(source)}.")
    found, notes = _stored(source[0], real.channels)
    images = _shaped(found, real)
    plain = plain_labels(source[1], WHERE)
    if len(plain.values) != len(images):
        raise InputError(
            f"{WHERE}: expected {counted(len(images), 'label')}, as there are images; got {len(plain.values)}."
        )
    if len(images) == 0 or plain.are_missing:
        raise InputError(f"{WHERE}: expected at least one, and a label of every image.")
    if normalized_by is None:
        check_pixels(images, WHERE, ", or say what they are (normalized_by; 'none': pixels as they are)")
    labels = torch.tensor(numbered(plain, real.class_names, WHERE), dtype=torch.int64)
    notes += tuple(f"{WHERE}: {note}" for note in plain.remarks())
    return LabelledImages(images, labels), notes


def _stored(images: Any, channels: int) -> tuple[Tensor, tuple[str, ...]]:
    """Images as one tensor, float32 or uint8, and what was assumed for it."""
    if isinstance(images, (list, tuple)):
        images = _stacked([as_array(image, WHERE) for image in images])
    tensor = as_tensor(images, WHERE, "pixels")
    if tensor.is_floating_point() or tensor.dtype == torch.uint8:
        return tensor.float() if tensor.is_floating_point() else tensor, ()
    reader = PixelReader(WHERE, channels)
    levels = [torch.from_numpy(np.ascontiguousarray(reader(image, i))) for i, image in enumerate(tensor)]
    notes = tuple(f"{WHERE}: {note}" for note in reader.remarks())
    return torch.stack(levels), notes


def _stacked(images: list[np.ndarray]) -> np.ndarray:
    if len({image.shape for image in images}) != 1:
        raise InputError(f"{WHERE}: expected arrays of one shape; resize them to that of the real data.")
    return np.stack(images)


def _shaped(images: Tensor, real: ImageSet) -> Tensor:
    """Images in the shape (n, c, h, w) of the real data."""
    shape = (real.channels, real.image_size, real.image_size)
    if images.ndim == 3 and real.channels == 1:
        images = images[:, None]
    if images.ndim == 4 and images.shape[1:] != shape and images.shape[1:] == (*shape[1:], shape[0]):
        images = images.permute(0, 3, 1, 2)
    if images.shape[1:] != shape:
        raise InputError(
            f"{WHERE}: expected the shape (n, {', '.join(map(str, shape))}), as {real.name} has; got "
            f"{tuple(images.shape)}."
        )
    return images.contiguous()
