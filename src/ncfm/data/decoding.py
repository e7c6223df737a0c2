"""Encoded images to uint8 tensors."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from ncfm._checks import NcfmError, check_at_least
from ncfm._typing import StoredImages

# Only these are tried: naming them is faster than asking every plug-in, and keeps out formats that run
# programs (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
CHUNK = 64  # images a task: a task for every small image costs about as much as decoding it


def decode_all(
    encoded: Sequence[bytes | Path],
    *,
    image_size: int | None = None,
    channels: int | None = None,
    place: str = "the images",
) -> StoredImages:
    """Decode images to one uint8 tensor (n, c, s, s).

    Args:
        encoded: file contents or paths.
        image_size: side s in pixels; default: the images' own, if all are square and equal.
        channels: 1 or 3; default: 1 if every image is grey, else 3.
        place: what error messages call the whole.

    Raises:
        NcfmError: if an image cannot be read (naming it), the sizes differ and ``image_size`` is not given,
            or there are no images.
    """
    if channels not in (None, 1, 3):
        raise NcfmError(f"channels must be 1 (grey) or 3 (RGB), got {channels}.")
    if not encoded:
        raise NcfmError(f"Expected at least one image in {place}, got none; check the path.")
    starts = range(0, len(encoded), CHUNK)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:  # decoders release the interpreter's lock
        chunks = pool.map(lambda start: _decode_chunk(encoded[start : start + CHUNK], start, place), starts)
        arrays = [array for chunk in chunks for array in chunk]
    if channels is None:
        channels = 1 if all(a.ndim == 2 for a in arrays) else 3
    image_size = _common_size(arrays, place) if image_size is None else image_size
    check_at_least(image_size, 1, "image_size")
    stacked = np.empty((len(arrays), image_size, image_size, channels), dtype=np.uint8)
    for index, array in enumerate(arrays):
        stacked[index] = _fit(array, image_size, channels)
    return torch.from_numpy(stacked).permute(0, 3, 1, 2).contiguous()


def _common_size(arrays: Sequence[np.ndarray], place: str) -> int:
    """The side of the images if all are square and equal."""
    sizes = {a.shape[:2] for a in arrays}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and height == width:
        return int(height)
    shown = ", ".join(f"{w}x{h}" for h, w in sorted(sizes)[:4]) + (", ..." if len(sizes) > 4 else "")
    found = f"have {len(sizes)} different sizes ({shown})" if len(sizes) > 1 else f"are not square ({shown})"
    raise NcfmError(f"{place}: the images {found}; choose one size with image_size (--set data.image_size=64).")


def _decode_chunk(encoded: Sequence[bytes | Path], start: int, place: str) -> list[np.ndarray]:
    return [_decode(source, f"image number {start + i} of {place}") for i, source in enumerate(encoded)]


def _decode(source: bytes | Path, place: str) -> np.ndarray:
    """One image as uint8: (h, w) if grey, else (h, w, 3); EXIF rotation applied, transparency dropped."""
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return _eight_bits(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        place = str(source) if isinstance(source, Path) else place
        raise NcfmError(f"Could not read {place}: {error}. Remove or repair it.") from error


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
