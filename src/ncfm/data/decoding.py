"""Encoded images to uint8 tensors."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.types import StoredImages
from ncfm.data.raw import Encoded
from ncfm.data.store import MemoryRows, NewRows

# Only these are tried: this is faster than trying every plug-in, and excludes formats that run programs (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SHOWN = 20  # unreadable images listed in a message
MOST_PIXELS = 2**26  # of one image; 67 million
CHUNK = 64  # images per task: one task per small image would cost about as much as decoding it


GREY_MODES = ("1", "L", "LA", "La", "I", "F")
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class SizesDiffer(InputError):
    """Images that are not all square and of one size, where no size was chosen."""


class Decoded(NamedTuple):
    """Images of one split, and the ones that could not be read."""

    images: StoredImages  # (n, c, s, s)
    kept: Tensor  # (n,) positions in the source
    unreadable: tuple[str, ...]  # one line per unreadable image


def decode_all(
    encoded: Sequence[Encoded],
    *,
    image_size: int | None = None,
    channels: int | None = None,
    place: str = "the images",
    max_unreadable: float = 0.0,
    order: Tensor | None = None,
    rows: NewRows = MemoryRows,
) -> Decoded:
    """Decode images to one uint8 tensor (n, c, s, s).

    The source is read in its own order, in chunks, and only the chunks that are being decoded are held in memory.

    Args:
        encoded: file contents, paths, or pixels.
        image_size: side s in pixels; default: the images' own, if all are square and equal.
        channels: 1 or 3; default: 1 if every image is grey, else 3. Without size or channels the headers of all images
            are read first.
        place: name of the source in error messages.
        max_unreadable: share of images that may be unreadable; they are skipped and reported.
        order: row i holds image ``order[i]``; default: as in the source.
        rows: creates the storage for images of a shape (n, c, s, s).

    Raises:
        NcfmError: if more images cannot be read (with a list), the sizes differ and ``image_size`` is not given, or
            there are no images.
    """
    if channels not in (None, 1, 3):
        raise InputError(f"channels must be 1 (grey) or 3 (RGB), got {channels}.")
    total = len(encoded)
    if total == 0:
        raise InputError(f"Expected at least one image in {place}, got none; check the path.")
    if image_size is None or channels is None:
        heads = [head for head in _in_threads(_head, encoded, place) if not isinstance(head, str)]
        if not heads:  # all are unreadable; decoding reports why
            heads = [Head(1, 1, grey=False)]
        channels = channels or (1 if all(head.grey for head in heads) else 3)
        image_size = _common_size(heads, place) if image_size is None else image_size
    check_at_least(image_size, 1, "image_size")
    order = torch.arange(total) if order is None else order
    row_of = torch.empty_like(order)
    row_of[order] = torch.arange(total)
    target = rows((total, channels, image_size, image_size))
    size, depth, places = image_size, channels, row_of.tolist()

    def decode(source: Encoded, index: int, place: str) -> str | None:
        array = _decode(source, place)
        if isinstance(array, str):
            return array
        target.put(places[index], _fit(array, size, depth).transpose(2, 0, 1))
        return None

    try:
        faults = list(_in_threads(decode, encoded, place))
        unreadable = tuple(fault for fault in faults if fault is not None)
        if len(unreadable) > max_unreadable * total or len(unreadable) == total:
            raise InputError(_unreadable_message(unreadable, total, place))
        kept = [row for row, index in enumerate(order.tolist()) if faults[index] is None]
        return Decoded(target.close(kept), order[kept], unreadable)
    except BaseException:
        target.discard()
        raise


def _in_threads(work: Callable[[Encoded, int, str], Any], encoded: Sequence[Encoded], place: str) -> Iterator[Any]:
    """``work(image, position, name)`` for every image, in order; decoders release the interpreter lock."""

    def chunk(images: Sequence[Encoded], start: int) -> list[Any]:
        numbered = enumerate(images, start)
        return [work(image, i, f"image number {i} of {place}") for i, image in numbered]

    workers = os.cpu_count() or 1
    with ThreadPoolExecutor(max_workers=workers) as pool:
        pending: deque[Future[list[Any]]] = deque()
        for start in range(0, len(encoded), CHUNK):
            pending.append(pool.submit(chunk, encoded[start : start + CHUNK], start))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


def _unreadable_message(unreadable: Sequence[str], total: int, place: str) -> str:
    """All unreadable images in one message."""
    if len(unreadable) == 1:
        return f"Could not read {unreadable[0]}. Remove or repair it."
    lines = "\n".join(f"  - {line}" for line in unreadable[:SHOWN])
    more = f"\n  ... and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
    return (
        f"Could not read {len(unreadable)} of {total} images of {place}:\n{lines}{more}\nRemove or repair them, or "
        "allow a share of them to be left out (--set data.max_unreadable=0.05)."
    )


class Head(NamedTuple):
    """Size and kind of an image, from its header."""

    width: int
    height: int
    grey: bool


def _head(source: Encoded, index: int, place: str) -> Head | str:
    """The header of one image, or why it cannot be read."""
    if isinstance(source, np.ndarray):
        return Head(source.shape[1], source.shape[0], source.ndim == 2)
    try:
        with _open(source) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            width, height = image.size[::-1] if turned else image.size
            return Head(width, height, image.mode in GREY_MODES or image.mode.startswith("I;16"))
    except UNREADABLE as error:
        return f"{source if isinstance(source, Path) else place}: {error}"


def _common_size(heads: Sequence[Head], place: str) -> int:
    """The side of the images if all are square and of one size."""
    sizes = {(head.height, head.width) for head in heads}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and height == width:
        return height
    shown = ", ".join(f"{w}x{h}" for h, w in sorted(sizes)[:4]) + (", ..." if len(sizes) > 4 else "")
    found = f"have {len(sizes)} different sizes ({shown})" if len(sizes) > 1 else f"are not square ({shown})"
    raise SizesDiffer(f"{place}: the images {found}; choose one size with image_size (--set data.image_size=64).")


def _open(source: bytes | Path | Image.Image) -> Image.Image:
    """Open an image; only its header is read. A Pillow image is copied, since what is opened is turned and closed.

    Raises:
        ValueError: for more than `MOST_PIXELS` pixels: a small file may claim gigabytes of them.
    """
    if isinstance(source, Image.Image):
        return source.copy()
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise ValueError(f"its header says {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    return image


def _decode(source: Encoded, place: str) -> np.ndarray | str:
    """One image as uint8, (h, w) or (h, w, 3), EXIF rotation applied, transparency dropped; or why it is unreadable."""
    if isinstance(source, np.ndarray):
        return source
    try:
        with _open(source) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return _eight_bits(image)
    except UNREADABLE as error:
        return f"{source if isinstance(source, Path) else place}: {error}"


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Pixels of any Pillow mode as uint8, grey (h, w) or RGB (h, w, 3).

    Pillow's own conversion clips 16-bit and float pixels at 255, so that nearly all become white.

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
        image = image.convert("RGBA")  # converting to RGB directly gives the same, but warns
    return np.asarray(image.convert("L" if image.mode in GREY_MODES else "RGB"))


def _fit(array: np.ndarray, size: int, channels: int) -> np.ndarray:
    """The image as (s, s, c): grey or RGB, short side resized to s, centre cropped."""
    if array.shape[:2] == (size, size) and (array.ndim == 3) == (channels == 3):
        return array if channels == 3 else array[..., None]
    image = Image.fromarray(array).convert("RGB" if channels == 3 else "L")
    if image.size != (size, size):
        image = ImageOps.fit(image, (size, size), method=Image.Resampling.BICUBIC)
    fitted = np.asarray(image)
    return fitted if channels == 3 else fitted[..., None]
