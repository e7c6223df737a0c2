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
from ncfm.data.channels import GREY, RGB, common_depth, depth_of, stored_channels
from ncfm.data.fitting import Fitter
from ncfm.data.raw import Encoded
from ncfm.data.store import MemoryRows, NewRows

# Only these are tried: this is faster than trying every plug-in, and excludes formats that run programs (EPS).
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SHOWN = 20  # unreadable images listed in a message
MOST_PIXELS = 2**26  # of one image; 67 million
CHUNK = 64  # images per task: one task per small image would cost about as much as decoding it


GREY_MODES = ("1", "L", "LA", "La", "I", "F")
UNREADABLE = (OSError, ValueError, SyntaxError, Image.DecompressionBombError)


class Decoded(NamedTuple):
    """Images of one split, and the ones that could not be read."""

    images: StoredImages  # (n, c, s, s)
    kept: Tensor  # (n,) positions in the source
    unreadable: tuple[str, ...]  # one line per unreadable image
    remarks: tuple[str, ...] = ()  # what was done to the others


def decode_all(
    encoded: Sequence[Encoded],
    *,
    image_size: int | None = None,
    channels: int | None = None,
    fit: str = "crop",
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
        channels: default: those of the images, 3 for a mixture of grey and RGB. Without size or channels the headers of
            all images are read first.
        fit: how images become square, see `Fitter`.
        place: name of the source in error messages.
        max_unreadable: share of images that may be unreadable; they are skipped and reported.
        order: row i holds image ``order[i]``; default: as in the source.
        rows: creates the storage for images of a shape (n, c, s, s).

    Raises:
        NcfmError: if more images cannot be read (with a list), the sizes differ and ``image_size`` is not given, images
            cannot have the channels, or there are no images.
    """
    check_at_least(1 if channels is None else channels, 1, "channels")
    total = len(encoded)
    if total == 0:
        raise InputError(f"Expected at least one image in {place}, got none; check the path.")
    if image_size is None or channels is None:
        heads = [head for head in _in_threads(_head, encoded, place) if not isinstance(head, str)]
        if not heads:  # all are unreadable; decoding reports why
            heads = [Head(1, 1, RGB)]
        channels = channels or common_depth((head.channels for head in heads), place)
        image_size = _common_size(heads, place) if image_size is None else image_size
    check_at_least(image_size, 1, "image_size")
    order = torch.arange(total) if order is None else order
    row_of = torch.empty_like(order)
    row_of[order] = torch.arange(total)
    target = rows((total, channels, image_size, image_size))
    fitter, depth, places = Fitter(image_size, channels, fit), channels, row_of.tolist()

    def decode(source: Encoded, index: int, place: str) -> str | None:
        array = _decode(source, place, depth)
        if isinstance(array, str):
            return array
        name = str(source) if isinstance(source, Path) else place
        target.put(places[index], fitter(array, name).transpose(2, 0, 1))
        return None

    try:
        faults = list(_in_threads(decode, encoded, place))
        unreadable = tuple(fault for fault in faults if fault is not None)
        if len(unreadable) > max_unreadable * total or len(unreadable) == total:
            raise InputError(_unreadable_message(unreadable, total, place))
        kept = [row for row, index in enumerate(order.tolist()) if faults[index] is None]
        return Decoded(target.close(kept), order[kept], unreadable, fitter.remarks())
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
    channels: int  # grey or RGB, into which files are decoded by default; of arrays any number


def _head(source: Encoded, index: int, place: str) -> Head | str:
    """The header of one image, or why it cannot be read."""
    if isinstance(source, np.ndarray):
        return Head(source.shape[1], source.shape[0], depth_of(source))
    try:
        with _open(source) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            width, height = image.size[::-1] if turned else image.size
            grey = image.mode in GREY_MODES or image.mode.startswith("I;16")
            return Head(width, height, GREY if grey else RGB)
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
    raise InputError(f"{place}: the images {found}; choose one size with image_size (--set data.image_size=64).")


def _open(source: bytes | Path) -> Image.Image:
    """Open an image; only its header is read.

    Raises:
        ValueError: for more than `MOST_PIXELS` pixels: a small file may claim gigabytes of them.
    """
    image = Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS)
    if image.width * image.height > MOST_PIXELS:
        image.close()
        raise ValueError(f"its header says {image.width} x {image.height} pixels, more than {MOST_PIXELS:,}")
    return image


def _decode(source: Encoded, place: str, channels: int) -> np.ndarray | str:
    """One image as uint8, (h, w) or (h, w, c), EXIF rotation applied; or why it is unreadable.

    Files become grey or RGB, transparency dropped, unless they store the two or four channels that are asked for.
    """
    if isinstance(source, np.ndarray):
        return source
    try:
        with _open(source) as image:
            ImageOps.exif_transpose(image, in_place=True)
            stored = stored_channels(image, channels)
            return _eight_bits(image) if stored is None else stored
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
