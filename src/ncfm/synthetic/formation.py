"""Multi-formation: one stored image holds several training images at lower resolution.

A stored image is a mosaic of factor x factor tiles; decoding cuts it and enlarges every tile to full size. With factor
2, 10 stored images per class become 40 training images.

Reference:
    Kim et al., "Dataset Condensation via Efficient Synthetic-Data Parameterization" (IDC), ICML 2022.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ncfm._utils.checks import InputError, check_at_least, check_factor, check_known
from ncfm._utils.options import Count, Options
from ncfm._utils.progress import counted
from ncfm._utils.types import GroupedImages, Images

Mode = Literal["single", "multi", "bounded"]
MODES: tuple[str, ...] = get_args(Mode)

Shrink = Literal["area", "nearest"]


@dataclass(frozen=True)
class Formation(Options):
    """How many training images a stored image holds."""

    factor: Count = 2
    """A stored image is a mosaic of factor x factor tiles."""
    mode: Mode = "single"
    """single: every image gives its factor^2 tiles; multi: those of every factor up to it; bounded: see `decode`."""
    bound: Count = 128
    """bounded: training images per class at most."""

    def decode(self, images: GroupedImages) -> GroupedImages:
        """Training images (C, m, c, h, w) of stored ones (C, ipc, c, h, w), see `decode`."""
        return decode(images, self.factor, self.mode, self.bound)

    def decoded_ipc(self, ipc: int) -> int:
        """Number m of training images per class of ``ipc`` stored ones."""
        return decoded_ipc(ipc, self.factor, self.mode, self.bound)

    def decoded_in_use(self, used: Tensor) -> Tensor:
        """Which of the decoded images (C, m) come from stored ones that are in use (C, ipc); both booleans."""
        if self.mode == "bounded" and not bool(used.all()):
            raise InputError("distill.mode=bounded needs as many images in every class; choose single or multi.")
        plan = _plan(used.shape[1], self.factor, self.mode, self.bound)
        start, parts = 0, []
        for tiles, count in plan:
            chosen = used if self.mode == "multi" else used[:, start : start + count]
            start += count
            parts.append(chosen.repeat_interleave(tiles**2, dim=1))
        return torch.cat(parts, dim=1)

    def check_image_size(self, image_size: int) -> None:
        """Raise NcfmError unless tiles of at least a pixel fit into images of this size."""
        check_factor(image_size, self.factor)


def cut(images: Images, factor: int) -> Images:
    """Cut every image into factor x factor tiles and enlarge each to full size (bilinear).

    If the factor does not divide a side, the tiles along it differ in size by one pixel, see `edges`.

    Args:
        images: (n, c, h, w).
        factor: tiles per side, at most h and w.

    Returns:
        (n * factor^2, c, h, w): the tiles of the first image row by row, then those of the second.

    Raises:
        NcfmError: if the factor is larger than the image.
    """
    if factor == 1:
        return images
    n, c, h, w = images.shape
    check_factor(min(h, w), factor)
    if h % factor or w % factor:
        tiles = [
            F.interpolate(images[..., tile[0], tile[1]], size=(h, w), mode="bilinear") for tile in _grid(h, w, factor)
        ]
        return torch.stack(tiles, dim=1).flatten(0, 1)
    together = images.reshape(n, c, factor, h // factor, factor, w // factor)
    together = together.permute(0, 2, 4, 1, 3, 5).reshape(n * factor**2, c, h // factor, w // factor)
    return F.interpolate(together, size=(h, w), mode="bilinear", align_corners=False)


def stitch(images: Images, factor: int, shrink: Shrink = "area") -> Images:
    """Shrink images and arrange factor^2 of them in each mosaic: what `cut` takes apart.

    Args:
        images: (n * factor^2, c, h, w).
        factor: tiles per side, at most h and w.
        shrink: "area" - a pixel of a tile is the mean of those that it covers; "nearest" - it is one of them, as in the
            published code of IDC, DANCE and NCFM (``F.interpolate`` without a mode).

    Returns:
        (n, c, h, w).

    Raises:
        NcfmError: if the number of images is not a multiple of factor^2, or the factor is larger than an image.
    """
    if factor == 1:
        return images
    total, c, h, w = images.shape
    if total % factor**2:
        raise InputError(f"Expected a multiple of {counted(factor**2, 'image')} to stitch, got {total}.")
    check_factor(min(h, w), factor)
    groups = images.view(total // factor**2, factor**2, c, h, w)
    mosaics = images.new_empty(total // factor**2, c, h, w)
    for i, (rows, columns) in enumerate(_grid(h, w, factor)):
        size = (rows.stop - rows.start, columns.stop - columns.start)
        mosaics[..., rows, columns] = F.interpolate(groups[:, i], size=size, mode=shrink)
    return mosaics


def as_stored(images: Images, factor: int) -> Images:
    """Images (n, c, h, w) at the resolution of a stored tile: shrunk, then enlarged to full size.

    If the factor does not divide a side, the first tile's size is used.
    """
    if factor == 1:
        return images
    h, w = images.shape[-2:]
    check_factor(min(h, w), factor)
    tiles = F.interpolate(images, size=(edges(h, factor)[1], edges(w, factor)[1]), mode="area")
    return F.interpolate(tiles, size=(h, w), mode="bilinear", align_corners=False)


def edges(size: int, factor: int) -> list[int]:
    """Boundaries of the tiles along one side, ``floor(i size / factor)`` for i = 0 .. factor.

    >>> edges(32, 3)
    [0, 10, 21, 32]
    """
    return [i * size // factor for i in range(factor + 1)]


def _grid(h: int, w: int, factor: int) -> list[tuple[slice, slice]]:
    """Rows and columns of the tiles of an image, row by row."""
    down, across = edges(h, factor), edges(w, factor)
    return [(slice(*down[i : i + 2]), slice(*across[j : j + 2])) for i in range(factor) for j in range(factor)]


def decode(images: GroupedImages, factor: int, mode: str = "single", bound: int = 128) -> GroupedImages:
    """Decode stored images to training images, class by class in one pass.

    Args:
        images: (C, ipc, c, h, w) stored images.
        factor: tiles per side.
        mode: "single" - every stored image gives its factor^2 tiles;
            "multi" - the tiles of every factor 1 .. factor, the whole image among them;
            "bounded" - at most ``bound`` images per class: as many stored images as fit give factor^2 tiles, as many
            of the rest as fit give (factor - 1)^2, and so on; the last ones stay whole.
        bound: see "bounded"; at least ipc.

    Returns:
        (C, m, c, h, w) with m = `decoded_ipc`.
    """
    groups, ipc = images.shape[:2]
    parts: list[Tensor] = []
    start = 0
    for tiles, count in _plan(ipc, factor, mode, bound):
        chosen = images if mode == "multi" else images[:, start : start + count]
        start += count
        parts.append(cut(chosen.flatten(0, 1), tiles).unflatten(0, (groups, count * tiles**2)))
    return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def decoded_ipc(ipc: int, factor: int, mode: str = "single", bound: int = 128) -> int:
    """Number m of training images per class that `decode` returns."""
    return sum(count * tiles**2 for tiles, count in _plan(ipc, factor, mode, bound))


def _plan(ipc: int, factor: int, mode: str, bound: int) -> list[tuple[int, int]]:
    """Pairs (tiles per side, number of stored images cut that way)."""
    check_at_least(factor, 1, "factor")
    check_known(mode, MODES, "formation mode")
    if mode == "single":
        return [(factor, ipc)]
    if mode == "multi":
        return [(tiles, ipc) for tiles in range(1, factor + 1)]
    check_at_least(bound, ipc, "bound")
    plan, left, room = [], ipc, bound - ipc  # every image takes at least one place, which is reserved
    for tiles in range(factor, 1, -1):
        count = min(room // (tiles**2 - 1), left)
        if count:
            plan.append((tiles, count))
        left, room = left - count, room - count * (tiles**2 - 1)
    return plan + ([(1, left)] if left else [])
