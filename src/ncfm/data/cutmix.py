"""CutMix: every image of a batch gets a rectangle of another one.

Reference:
    Yun et al., "CutMix: Regularization Strategy to Train Strong Classifiers with Localizable Features", ICCV 2019
    (share ~ Beta(1, 1), that is uniform).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from ncfm._utils.accelerator import to_device
from ncfm._utils.types import Images


class Pasting(NamedTuple):
    """What is pasted into the n images of a batch, drawn on the CPU."""

    box: tuple[int, int, int, int]  # top, bottom, left, right, in pixels; the same in all images
    order: Tensor  # (n,) image i gets the box of image order[i]
    share: float  # of the area that is unchanged


def draw_pasting(num_images: int, height: int, width: int, generator: Generator) -> Pasting:
    """One rectangle, of a uniform share of the area, and the images that it comes from."""
    share, row, column = torch.rand(3, generator=generator).tolist()
    half_h, half_w = height * math.sqrt(1 - share) / 2, width * math.sqrt(1 - share) / 2
    top, bottom = (round(min(max(row * height + s * half_h, 0), height)) for s in (-1, 1))
    left, right = (round(min(max(column * width + s * half_w, 0), width)) for s in (-1, 1))
    order = torch.randperm(num_images, generator=generator)
    return Pasting((top, bottom, left, right), order, 1 - (bottom - top) * (right - left) / (height * width))


def no_pasting(num_images: int) -> Pasting:
    """Nothing is pasted."""
    return Pasting((0, 0, 0, 0), torch.arange(num_images), 1.0)


def cutmix(images: Images, generator: Generator) -> tuple[Images, Tensor, float]:
    """Paste one rectangle of a shuffled copy into every image.

    Returns:
        The mixed images, the order (n,) of the copy (image i got a rectangle of image order[i]), and the share of the
        area that is unchanged; the loss is ``share * loss(labels) + (1 - share) * loss(labels[order])``.
    """
    height, width = images.shape[-2:]
    (top, bottom, left, right), order, share = draw_pasting(len(images), height, width, generator)
    order = to_device(order, images.device)
    mixed = images.clone()
    mixed[..., top:bottom, left:right] = images[order][..., top:bottom, left:right]
    return mixed, order, share


def cutmix_each(images: Tensor, pastings: Sequence[Pasting]) -> tuple[Tensor, Tensor, Tensor]:
    """Mix batches of images (S, n, c, h, w), each by its own pasting, in one pass and with two transfers.

    Returns:
        The mixed images, the orders (S, n) and the shares (S,), on the device of the images.
    """
    batches, size = images.shape[:2]
    boxes = torch.tensor([pasting.box for pasting in pastings])  # (S, 4)
    numbers = torch.cat([boxes, torch.stack([pasting.order for pasting in pastings])], dim=1)
    numbers = to_device(numbers, images.device)
    boxes, orders = numbers[:, :4], numbers[:, 4:]
    shares = to_device(torch.tensor([pasting.share for pasting in pastings]), images.device)
    if all(pasting.share == 1 for pasting in pastings):
        return images, orders, shares
    rows = orders + size * torch.arange(batches, device=images.device)[:, None]
    pasted = images.flatten(0, 1).index_select(0, rows.flatten()).view(images.shape)
    return torch.where(_inside(boxes, *images.shape[-2:]), pasted, images), orders, shares


def _inside(boxes: Tensor, height: int, width: int) -> Tensor:
    """Which pixels lie in the boxes (S, 4): a mask (S, 1, 1, h, w)."""
    top, bottom, left, right = (boxes[:, i, None] for i in range(4))  # (S, 1) each
    rows, columns = (torch.arange(side, device=boxes.device) for side in (height, width))
    down, across = (rows >= top) & (rows < bottom), (columns >= left) & (columns < right)
    return (down[:, :, None] & across[:, None, :])[:, None, None]
