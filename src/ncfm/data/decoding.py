"""Encoded images to uint8 tensors."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from ncfm._checks import NcfmError, check_at_least
from ncfm._typing import StoredImages
from ncfm.data.raw import Encoded

# Only these are tried: naming them is faster than asking every plug-in, and keeps out formats that run
# programs (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SHOWN = 20  # faults in a message
CHUNK = 64  # images a task: a task for every small image costs about as much as decoding it


class Decoded(NamedTuple):
    """Images of one split, and what could not be read."""

    images: StoredImages  # (n, c, s, s)
    kept: Tensor  # (n,) positions in the source
    unreadable: tuple[str, ...]  # a line for each image that is missing here


def decode_all(
    encoded: Sequence[Encoded],
    *,
    image_size: int | None = None,
    channels: int | None = None,
    place: str = "the images",
    max_unreadable: float = 0.0,
) -> Decoded:
    """Decode images to one uint8 tensor (n, c, s, s).

    Args:
        encoded: file contents, paths, or pixels.
        image_size: side s in pixels; default: the images' own, if all are square and equal.
        channels: 1 or 3; default: 1 if every image is grey, else 3.
        place: what error messages call the whole.
        max_unreadable: share of images that may be unreadable: they are left out and told.

    Raises:
        NcfmError: if more images than that cannot be read (naming them), the sizes differ and ``image_size`` is not
            given, or there are no images.
    """
    if channels not in (None, 1, 3):
        raise NcfmError(f"channels must be 1 (grey) or 3 (RGB), got {channels}.")
    if len(encoded) == 0:
        raise NcfmError(f"Expected at least one image in {place}, got none; check the path.")
    starts = range(0, len(encoded), CHUNK)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:  # decoders release the interpreter's lock
        chunks = pool.map(lambda start: _decode_chunk(encoded[start : start + CHUNK], start, place), starts)
        tried = [array for chunk in chunks for array in chunk]
    unreadable = tuple(found for found in tried if isinstance(found, str))
    if len(unreadable) > max_unreadable * len(encoded) or len(unreadable) == len(encoded):
        raise NcfmError(_told(unreadable, len(encoded), place))
    kept = [i for i, found in enumerate(tried) if not isinstance(found, str)]
    arrays = [found for found in tried if not isinstance(found, str)]
    if channels is None:
        channels = 1 if all(a.ndim == 2 for a in arrays) else 3
    image_size = _common_size(arrays, place) if image_size is None else image_size
    check_at_least(image_size, 1, "image_size")
    stacked = np.empty((len(arrays), image_size, image_size, channels), dtype=np.uint8)
    for index, array in enumerate(arrays):
        stacked[index] = _fit(array, image_size, channels)
    images = torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()
    return Decoded(images, torch.tensor(kept), unreadable)


def _told(unreadable: Sequence[str], total: int, place: str) -> str:
    """All that is wrong, in one message."""
    if len(unreadable) == 1:
        return f"Could not read {unreadable[0]}. Remove or repair it."
    lines = "\n".join(f"  - {line}" for line in unreadable[:SHOWN])
    more = f"\n  ... and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
    return (
        f"Could not read {len(unreadable)} of {total} images of {place}:\n{lines}{more}\nRemove or repair them, or "
        "allow a share of them to be left out (--set data.max_unreadable=0.05)."
    )


def _common_size(arrays: Sequence[np.ndarray], place: str) -> int:
    """The side of the images if all are square and equal."""
    sizes = {a.shape[:2] for a in arrays}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and height == width:
        return int(height)
    shown = ", ".join(f"{w}x{h}" for h, w in sorted(sizes)[:4]) + (", ..." if len(sizes) > 4 else "")
    found = f"have {len(sizes)} different sizes ({shown})" if len(sizes) > 1 else f"are not square ({shown})"
    raise NcfmError(f"{place}: the images {found}; choose one size with image_size (--set data.image_size=64).")


def _decode_chunk(encoded: Sequence[Encoded], start: int, place: str) -> list[np.ndarray | str]:
    return [_decode(source, f"image number {start + i} of {place}") for i, source in enumerate(encoded)]


def _decode(source: Encoded, place: str) -> np.ndarray | str:
    """One image as uint8: (h, w) if grey, else (h, w, 3), EXIF rotation applied, transparency dropped; or its fault."""
    if isinstance(source, np.ndarray):
        return source
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return _eight_bits(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return f"{source if isinstance(source, Path) else place}: {error}"


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Pixels of any Pillow mode as uint8, grey (h, w) or RGB (h, w, 3).

    Pillow's own conversion of 16-bit and float pixels to 8 bits clips them at 255, so that nearly all become
    white.

    Raises:
        ValueError: for pixels without a fixed range (floats, 32-bit integers).
    """
    if image.mode == "I" or image.mode.startswith("I;16"):  # "I": 16-bit PNG and PGM in some versions of Pillow
        pixels = np.asarray(image).astype(np.int64)
        if pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError("its 32-bit pixels go beyond 16 bits; save it with 8 or 16")
        return ((pixels + 128) // 257).astype(np.uint8)  # 65535 / 255 = 257, rounded to the nearest level
    if image.mode == "F":
        raise ValueError("its pixels are floats, of which the range is not known; save it with 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # straight to RGB is the same but warns
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB"))


def _fit(array: np.ndarray, size: int, channels: int) -> np.ndarray:
    """An (s, s, c) version: grey or RGB as asked, short side resized to s, centre cropped."""
    if array.shape[:2] == (size, size) and (array.ndim == 3) == (channels == 3):
        return array if channels == 3 else array[..., None]
    image = Image.fromarray(array).convert("RGB" if channels == 3 else "L")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    fitted = np.asarray(image)
    return fitted if channels == 3 else fitted[..., None]
