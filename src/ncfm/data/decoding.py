"""Encoded images to uint8 tensors."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least
from ncfm._utils.progress import counted
from ncfm._utils.types import StoredImages
from ncfm.data.channels import RGB, common_depth, depth_of
from ncfm.data.fitting import Fitter
from ncfm.data.image_files import Head, open_image, why_unreadable
from ncfm.data.image_modes import DEEP, Pixels, read_pixels, remarks_on, to_8_bits, to_array, white_level
from ncfm.data.raw import Encoded, select_rows
from ncfm.data.store import MemoryRows, NewRows, Rows

__all__ = ["Decoded", "decode_all", "to_array"]

SHOWN = 20  # unreadable images listed in a message
CHUNK = 64  # images per task: one task per small image would cost about as much as decoding it
DEEP_WHITE = 2**6  # in colours of 16 bits, of which the upper 8 are read: a lower white is one of 14 bits or fewer


class SizesDiffer(InputError):
    """Images that are not all square and of one size, where no size was chosen."""


class Decoded(NamedTuple):
    """Images of one split, and what was chosen for them."""

    images: StoredImages  # (n, c, s, s)
    kept: Tensor  # (n,) positions in the source
    unreadable: tuple[str, ...]  # one line per unreadable image
    remarks: tuple[str, ...]  # one line per choice
    white: int | None  # the level of integer pixels of more than 8 bits that became 255; None without any


class Outcome(NamedTuple):
    """What became of one image."""

    fault: str | None = None  # why it is unreadable
    traits: frozenset[str] = frozenset()  # see `Pixels`
    largest: int = 0  # pixel, of those that `REMARKS` or `white_level` ask for
    waits: bool = False  # for the white level of all images


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
    white: int | None = None,
) -> Decoded:
    """Decode images to one uint8 tensor (n, c, s, s).

    The source is read in its own order, in chunks, and only the chunks that are being decoded are held in memory.
    Integer pixels of more than 8 bits are decoded last, since the largest value of all images decides what is white.

    Args:
        encoded: file contents, paths, Pillow images, or pixels.
        image_size: side s in pixels; default: the images' own, if all are square and equal.
        channels: default: those of the images, 3 for a mixture of grey and RGB. Without size or channels the headers of
            all images are read first.
        fit: how images become square, see `Fitter`.
        place: name of the source in error messages.
        max_unreadable: share of images that may be unreadable; they are skipped and reported.
        order: row i holds image ``order[i]``; default: as in the source.
        rows: creates the storage for images of a shape (n, c, s, s).
        white: of the training split, see `Decoded`; default: by the largest value.

    Raises:
        NcfmError: if more images cannot be read (with a list), the sizes differ and ``image_size`` is not given, images
            cannot have the channels, there are no images, or pixels go beyond ``white``.
    """
    total = len(encoded)
    if total == 0:
        raise InputError(f"Expected at least one image in {place}, got none; check the path.")
    channels, size = _common_shape(encoded, channels, image_size, place)
    fitter = Fitter(size, channels, fit)
    order = torch.arange(total) if order is None else order
    row_of = torch.empty_like(order)
    row_of[order] = torch.arange(total)
    target = rows((total, channels, size, size))
    try:
        write = _Writer(target, row_of.tolist(), fitter)
        outcomes = list(_in_threads(write.decode, encoded, place))
        unreadable = tuple(outcome.fault for outcome in outcomes if outcome.fault is not None)
        if len(unreadable) > max_unreadable * total or len(unreadable) == total:
            raise InputError(_unreadable_message(unreadable, total, place))
        remarks = remarks_on(outcome.traits for outcome in outcomes)
        _check_deep(outcomes, place)
        waiting = [index for index, outcome in enumerate(outcomes) if outcome.waits]
        if waiting:
            largest = max(outcomes[index].largest for index in waiting)
            white = _white(largest, white, place)
            remarks.append(_white_remark(len(waiting), largest, white))
            list(_in_threads(write.of_waiting(waiting, white), select_rows(encoded, waiting), place))
        kept = [row for row, index in enumerate(order.tolist()) if outcomes[index].fault is None]
        return Decoded(target.close(kept), order[kept], unreadable, (*remarks, *fitter.remarks()), white)
    except BaseException:
        target.discard()
        raise


class _Writer:
    """Decodes images into rows of their storage."""

    def __init__(self, target: Rows, row_of: Sequence[int], fitter: Fitter) -> None:
        self._target, self._row_of, self._fitter = target, row_of, fitter

    def decode(self, source: Encoded, index: int, place: str) -> Outcome:
        """Decode one image; one of more than 8 bits is only measured."""
        name = _name(source, place)
        try:
            pixels = _read(source, self._fitter.channels)
        except MemoryError:
            raise
        except Exception as error:  # plug-ins raise errors of many kinds for damaged files
            return Outcome(f"{name}: {why_unreadable(error, source)}")
        if pixels.values.dtype != np.uint8:
            return Outcome(None, pixels.traits, int(pixels.values.max()), waits=True)
        self._put(index, pixels.values, name)
        return Outcome(None, pixels.traits, int(pixels.values.max()) if DEEP in pixels.traits else 0)

    def of_waiting(self, waiting: Sequence[int], white: int) -> Callable[[Encoded, int, str], None]:
        """A function like `decode` for the images at the positions ``waiting``, of which the white is known now."""

        def decode(source: Encoded, number: int, place: str) -> None:
            levels = _read(source, self._fitter.channels).values
            self._put(waiting[number], to_8_bits(levels, white), _name(source, place))

        return decode

    def _put(self, index: int, array: np.ndarray, name: str) -> None:
        self._target.put(self._row_of[index], self._fitter(array, name).transpose(2, 0, 1))


def _name(source: Encoded, place: str) -> str:
    """What an image is called in messages: its path, or its place in the source."""
    return str(source) if isinstance(source, Path) else place


def _read(source: Encoded, channels: int) -> Pixels:
    """The pixels of one image, see `read_pixels`.

    Raises:
        Exception: of any kind, if it is unreadable.
    """
    if isinstance(source, np.ndarray):
        return Pixels(source)
    if isinstance(source, Image.Image):
        return read_pixels(source, channels)
    with open_image(source) as image:
        return read_pixels(image, channels)


def _white(largest: int, white: int | None, place: str) -> int:
    """The white level of images with this largest value, given that of the training split, if it has one."""
    if white is not None and largest > white:
        raise InputError(
            f"{place}: the pixels go up to {largest:,}, but in the training images {white:,} is read as white; save "
            "all images with 8 bits, by one scale."
        )
    return white_level(largest) if white is None else white


def _white_remark(count: int, largest: int, white: int) -> str:
    return (
        f"{counted(count, 'image')} with more than 8 bits: the largest value is {largest:,}, so {white:,} "
        f"({white.bit_length()} bits) is read as white"
    )


def _check_deep(outcomes: Sequence[Outcome], place: str) -> None:
    """Refuse colours of 16 bits that use the lower ones only, of which Pillow would leave a few dark levels."""
    deep = [outcome.largest for outcome in outcomes if DEEP in outcome.traits]
    if deep and max(deep) < DEEP_WHITE:
        raise InputError(
            f"{place}: expected colours that use all of their 16 bits, but the largest value of "
            f"{counted(len(deep), 'image')} "
            f"is below {256 * (max(deep) + 1):,} of 65,535; save them with 8 bits, by one scale for all images."
        )


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
    share = math.ceil(1000 * len(unreadable) / total) / 1000  # that allows these
    allow = f"allow a share of them to be left out (--set data.max_unreadable={share:g})."
    if len(unreadable) == 1:
        return f"Could not read {unreadable[0]}. Remove or repair it, or {allow.replace('them', 'images')}"
    lines = "\n".join(f"  - {line}" for line in unreadable[:SHOWN])
    more = f"\n  ... and {len(unreadable) - SHOWN} more" if len(unreadable) > SHOWN else ""
    return (
        f"Could not read {len(unreadable)} of {total} images of {place}:\n{lines}{more}\nRemove or repair them, or "
        f"{allow}"
    )


def _common_shape(
    encoded: Sequence[Encoded], channels: int | None, image_size: int | None, place: str
) -> tuple[int, int]:
    """Channels and side of the decoded images; where they are not given, by the headers of all images."""
    if image_size is None or channels is None:
        heads = [head for head in _in_threads(_head, encoded, place) if head is not None]
        if not heads:  # all are unreadable; decoding reports why
            heads = [Head(1, 1, RGB)]
        channels = common_depth((head.channels for head in heads), place) if channels is None else channels
        image_size = _common_size(heads, place) if image_size is None else image_size
    check_at_least(channels, 1, "channels")
    check_at_least(image_size, 1, "image_size")
    return channels, image_size


def _head(source: Encoded, index: int, place: str) -> Head | None:
    """The header of one image; None if it cannot be read."""
    if isinstance(source, np.ndarray):
        return Head(source.shape[1], source.shape[0], depth_of(source))
    if isinstance(source, Image.Image):
        return Head.of(source)
    try:
        with open_image(source) as image:
            return Head.of(image)
    except MemoryError:
        raise
    except Exception:  # decoding reports it
        return None


def _common_size(heads: Sequence[Head], place: str) -> int:
    """The side of the images if all are square and of one size."""
    sizes = {(head.height, head.width) for head in heads}
    height, width = next(iter(sizes))
    if len(sizes) == 1 and height == width:
        return height
    shown = ", ".join(f"{w}x{h}" for h, w in sorted(sizes)[:4]) + (", ..." if len(sizes) > 4 else "")
    found = f"have {len(sizes)} different sizes ({shown})" if len(sizes) > 1 else f"are not square ({shown})"
    raise SizesDiffer(f"{place}: the images {found}; choose one size with image_size (--set data.image_size=64).")
