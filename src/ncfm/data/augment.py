"""Differentiable augmentation shared by groups of images.

Differentiable siamese augmentation (DSA): all images of a group share one random draw of the parameters. The real and
the synthetic images of a class undergo the same transformation, so that their features remain comparable.

Reference:
    Zhao and Bilen, "Dataset Condensation with Differentiable Siamese Augmentation", ICML 2021.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ncfm._utils.accelerator import to_device
from ncfm._utils.checks import InputError, check_known
from ncfm._utils.types import GroupedImages, Images

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
PUBLISHED = "dsa:"  # prefix of strategies with the distributions of the published code

BRIGHTNESS = 1.0  # added: uniform in +-BRIGHTNESS / 2, in units of a standard deviation
SATURATION = 2.0  # factor uniform in [0, SATURATION] on the distance from the pixel's grey
CONTRAST = 0.5  # factor uniform in [1 - CONTRAST, 1 + CONTRAST] on the distance from the image's mean
CROP = 0.125  # shift uniform in +-CROP of a side, in whole pixels
CUTOUT = 0.5  # side of the removed square, as a fraction of the image's
SCALE = 1.2  # zoom of each axis log-uniform in [1 / SCALE, SCALE]
ROTATE = 15.0  # degrees, uniform in +-ROTATE


@dataclass(frozen=True)
class AugmentParameters:
    """One draw for each of G groups."""

    operations: frozenset[str]  # that any group has drawn; the values of others are those of no change
    brightness: Tensor  # (G,) added
    saturation: Tensor  # (G,) factor
    contrast: Tensor  # (G,) factor
    affine: Tensor  # (G, 2, 3) output to input coordinates, in half sides
    cutout: Tensor  # (G, 2) centre of the removed square, in pixels (row, column); -1 for none

    def to(self, device: torch.device) -> AugmentParameters:
        """The same draw on another device, in one transfer."""
        parts = self.tensors()
        if device == self.brightness.device or not parts:
            return self
        flat = to_device(torch.cat([part.flatten() for part in parts.values()]), device)
        moved = flat.split([part.numel() for part in parts.values()])
        named = {name: part.view(parts[name].shape) for name, part in zip(parts, moved, strict=True)}
        return self._with(named.__getitem__)

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of the draw by name."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "operations"}

    def of(self, groups: slice) -> AugmentParameters:
        """The draw of some of the groups."""
        return self._with(lambda name: getattr(self, name)[groups])

    @staticmethod
    def cat(draws: Sequence[AugmentParameters]) -> AugmentParameters:
        """Several draws as one, group after group."""
        operations = frozenset().union(*(draw.operations for draw in draws))
        return draws[0]._with(lambda name: torch.cat([getattr(draw, name) for draw in draws]), operations)

    def _with(self, tensor: Callable[[str], Tensor], operations: frozenset[str] | None = None) -> AugmentParameters:
        """Parameters with other tensors, given by name."""
        tensors = {name: tensor(name) for name in self.tensors()}
        return AugmentParameters(operations=self.operations if operations is None else operations, **tensors)


def without(operation: str, strategy: str) -> str:
    """A strategy of `SiameseAugment` without one of its operations.

    >>> without("flip", "color_crop_flip"), without("flip", "dsa:color_flip|crop"), without("flip", "flip")
    ('color_crop', 'dsa:color_crop', 'none')
    """
    prefix = PUBLISHED if strategy.startswith(PUBLISHED) else ""
    parts = [part.split("|") for part in strategy.removeprefix(PUBLISHED).split("_")]
    kept = ["|".join(name for name in part if name != operation) for part in parts]
    return prefix + "_".join(filter(None, kept)) if any(kept) else "none"


class SiameseAugment:
    """DSA: draw parameters once for every group, then apply them to any images of these groups.

    Colour comes first, then one affine map that composes crop, flip, scale and rotation (a single interpolation), then
    cutout. Images are expected to be normalised: areas outside the image are filled with 0, the mean colour.

    Args:
        strategy: operations joined by ``_``, among color, crop, cutout, flip, scale, rotate, all of which are applied;
            of operations joined by ``|`` only one is applied, drawn again for every draw, as in
            ``color_flip_crop|scale|rotate``: the same for all groups, or one for each. "none" for no change. With the
            prefix ``dsa:`` the distributions are exactly those of the published code: zooms uniform in [1 / SCALE,
            SCALE] in place of log-uniform, and shifts uniform over whole pixels, where rounding halves the probability
            of the two largest.

    Raises:
        NcfmError: for an unknown operation.

    Reference:
        VICO-UoE/DatasetCondensation, ``utils.py``, ``ParamDiffAug`` and ``DiffAugment`` (one operation a batch, of all
        six); gszfwsb/NCFM, ``utils/diffaug.py`` (colour, flip, and one of the others).
    """

    def __init__(self, strategy: str = "color_crop_cutout_flip_scale_rotate") -> None:
        body = strategy.removeprefix(PUBLISHED)
        self.parts = [] if body in ("", "none") else [part.split("|") for part in body.split("_")]
        for name in itertools.chain.from_iterable(self.parts):
            check_known(name, OPERATIONS, "augmentation")
        self.strategy, self.published = strategy, body != strategy
        self.operations = frozenset(itertools.chain.from_iterable(self.parts))

    def draw(
        self, num_groups: int, image_size: int, generator: Generator, *, choose_each: bool = False
    ) -> AugmentParameters:
        """Draw the parameters of ``num_groups`` groups; with ``choose_each`` every group has an alternative of its own.

        The generator advances by the same amount for every strategy without alternatives, so that switching off one
        operation does not change the draws of the others. Everything is drawn on the CPU.
        """
        u = torch.rand(11, num_groups, generator=generator)  # uniform in [0, 1), one row per parameter
        chosen = [_one_of(part, num_groups if choose_each else 1, generator) for part in self.parts]
        on = {name: torch.zeros(num_groups, dtype=torch.bool) for name in OPERATIONS}
        for part, places in zip(self.parts, chosen, strict=True):
            for place, name in enumerate(part):
                on[name] |= places == place
        one = torch.ones(num_groups)
        shift = self._shift(u[3:5], image_size) * on["crop"]  # (2, G) pixels
        zoom = torch.where(on["scale"], self._zoom(u[5:7]), one)
        angle = (2 * u[7] - 1) * math.radians(ROTATE) * on["rotate"]
        mirror = torch.where((u[8] < 0.5) & on["flip"], -one, one)
        centre = torch.where(on["cutout"], torch.floor(u[9:11] * (image_size + 1)), -one).T
        return AugmentParameters(
            operations=self.operations if choose_each else frozenset(n for n in OPERATIONS if bool(on[n].any())),
            brightness=(u[0] - 0.5) * BRIGHTNESS * on["color"],
            saturation=torch.where(on["color"], SATURATION * u[1], one),
            contrast=torch.where(on["color"], 1 + (2 * u[2] - 1) * CONTRAST, one),
            affine=_affine(shift * 2 / image_size, zoom, angle, mirror),
            cutout=centre,
        )

    def _shift(self, u: Tensor, image_size: int) -> Tensor:
        """Shifts in whole pixels."""
        if not self.published:
            return torch.round((2 * u - 1) * CROP * image_size)
        largest = int(CROP * image_size + 0.5)
        return torch.floor(u * (2 * largest + 1)) - largest

    def _zoom(self, u: Tensor) -> Tensor:
        """Factors of the two axes."""
        return 1 / SCALE + u * (SCALE - 1 / SCALE) if self.published else SCALE ** (2 * u - 1)

    def apply(self, images: GroupedImages, parameters: AugmentParameters) -> GroupedImages:
        """Transform images of shape (G, n, c, h, w), each group by its own draw; gradients flow through.

        Raises:
            NcfmError: if the number of groups differs from the draw's.
        """
        if images.ndim != 5 or images.shape[0] != parameters.brightness.shape[0]:
            raise InputError(
                f"Expected images of shape (G, n, c, h, w) with G = {parameters.brightness.shape[0]} as drawn, "
                f"got {tuple(images.shape)}."
            )
        if not parameters.operations:
            return images
        p = parameters.to(images.device)
        if "color" in p.operations:
            images = _color(images, p)
        if p.operations & {"crop", "flip", "scale", "rotate"}:
            images = _warp(images, p.affine)
        if "cutout" in p.operations:
            images = images * _outside_square(p.cutout, images.shape[-1], images.dtype)
        return images

    def apply_each(self, images: Images, generator: Generator) -> Images:
        """Transform images (n, c, h, w), each by its own draw, as in the training of classifiers."""
        if not self.operations:
            return images
        return self.apply(images[:, None], self.draw(len(images), images.shape[-1], generator))[:, 0]


def _one_of(alternatives: Sequence[str], times: int, generator: Generator) -> Tensor:
    """Places (times,) among the alternatives, each as likely; nothing is drawn if there is no choice."""
    if len(alternatives) == 1:
        return torch.zeros(times, dtype=torch.int64)
    return torch.randint(len(alternatives), (times,), generator=generator)


def _affine(shift: Tensor, zoom: Tensor, angle: Tensor, mirror: Tensor) -> Tensor:
    """Matrices (G, 2, 3) of output -> input: zoom and rotate about the centre, mirror, then shift."""
    cos, sin = torch.cos(angle), torch.sin(angle)
    row_x = torch.stack([mirror * cos * zoom[0], -mirror * sin * zoom[0], shift[0]], dim=-1)
    row_y = torch.stack([sin * zoom[1], cos * zoom[1], shift[1]], dim=-1)
    return torch.stack([row_x, row_y], dim=-2)


def _color(images: Tensor, p: AugmentParameters) -> Tensor:
    """Brightness, then saturation about the pixel's grey, then contrast about the image's mean."""
    brightness, saturation, contrast = (v.view(-1, 1, 1, 1, 1) for v in (p.brightness, p.saturation, p.contrast))
    images = images + brightness
    grey = images.mean(dim=2, keepdim=True)
    images = grey + (images - grey) * saturation
    mean = images.mean(dim=(2, 3, 4), keepdim=True)
    return mean + (images - mean) * contrast


def _warp(images: Tensor, affine: Tensor) -> Tensor:
    """One bilinear resampling of (G, n, c, h, w) by the group's matrix; outside is 0."""
    groups, n, c, h, w = images.shape
    grid = F.affine_grid(affine.to(images.dtype), [groups, 1, h, w], align_corners=False)  # (G, h, w, 2)
    # All images of a group share one map: as channels of one image they need a single grid.
    warped = F.grid_sample(images.reshape(groups, n * c, h, w), grid, align_corners=False, padding_mode="zeros")
    return warped.view(groups, n, c, h, w)


def _outside_square(centre: Tensor, size: int, dtype: torch.dtype) -> Tensor:
    """Mask (G, 1, 1, h, w): 0 inside the removed square, 1 elsewhere."""
    half = CUTOUT * size / 2
    at = torch.arange(size, device=centre.device)
    near = (at[None, None] - centre[:, :, None]).add(0.5).abs() < half  # (G, 2, size)
    inside = near[:, 0, :, None] & near[:, 1, None, :] & (centre[:, :1, None] >= 0)
    return (~inside)[:, None, None].to(dtype)
