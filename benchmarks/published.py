"""One iteration of DANCE's published loop, written from its formulas with plain operators, on given random draws.

Class after class: normalise, augment real and synthetic images of a class together, the squared distance of the mean
features, and its gradient; then the cross-entropy of freshly augmented images. Nothing of the package's step or
augmentation is used, so that a difference from them is a difference of the computation.

Source: Hansong-Zhang/DANCE, ``DANCE.py`` (condense, innerloss, interloss, decode_zoom), ``common.py`` (diffaug: first
normalise, then augment), ``misc/augment.py`` (the operations).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Draw:
    """What the published augmentation draws for a batch of one class, in its own units."""

    brightness: float  # in [-0.5, 0.5], added
    saturation: float  # in [0, 2], a factor
    contrast: float  # in [0.5, 1.5], a factor
    rows: int  # pixels by which a crop is shifted, down
    columns: int  # and to the right
    cutout: tuple[int, int]  # centre (row, column) of the removed square


def color(x: Tensor, draw: Draw) -> Tensor:
    """Brightness, saturation about the pixel's mean, contrast about the image's mean, of images (n, c, h, w)."""
    x = x + draw.brightness
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * draw.saturation + grey
    mean = x.mean(dim=[1, 2, 3], keepdim=True)
    return (x - mean) * draw.contrast + mean


def crop(x: Tensor, draw: Draw) -> Tensor:
    """Shift by whole pixels; what comes from outside is 0."""
    h, w = x.shape[-2:]
    padded = F.pad(x, (w, w, h, h))
    top, left = h + draw.rows, w + draw.columns
    return padded[..., top : top + h, left : left + w]


def cutout(x: Tensor, draw: Draw) -> Tensor:
    """Set a square of half the side, about a centre that may lie at the border, to 0."""
    h, w = x.shape[-2:]
    size = h // 2
    top, left = (centre - size // 2 for centre in draw.cutout)
    mask = torch.ones(h, w)
    mask[max(top, 0) : min(top + size, h), max(left, 0) : min(left + size, w)] = 0
    return x * mask


def decode(stored: Tensor, factor: int) -> Tensor:
    """The tiles (n factor^2, c, h, w) of mosaics (n, c, h, w), tile place after tile place, enlarged bilinearly."""
    h, w = stored.shape[-2:]
    tall, wide = h // factor, w // factor
    places = [(i * tall, j * wide) for i in range(factor) for j in range(factor)]
    tiles = torch.cat([stored[..., row : row + tall, column : column + wide] for row, column in places])
    return F.interpolate(tiles, size=(h, w), mode="bilinear", align_corners=False)


def iteration(
    stored: Tensor,
    real: Tensor,
    *,
    extractor: nn.Module,
    teacher: nn.Module,
    statistics: tuple[tuple[float, ...], tuple[float, ...]],
    draws: Mapping[str, list[Draw]],
    factor: int,
    lr: float,
) -> dict[str, Tensor]:
    """All tensors of an iteration by name, those of classes stacked.

    Args:
        stored: (C, ipc, c, h, w) images in [0, 1].
        real: (C, n, c, h, w) in [0, 1].
        extractor: the blended network, with ``forward_features``.
        teacher: the trained network, which calibrates.
        statistics: mean and standard deviation of every channel.
        draws: for "matching" and "calibration" one of every class.
        factor: tiles per side.
        lr: of a step of SGD without momentum, by each of the two terms.
    """
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in statistics)
    found: dict[str, list[Tensor]] = {}

    def note(**named: Tensor) -> None:
        for name, value in named.items():
            found.setdefault(name, []).append(value.detach().clone())

    def augment(x: Tensor, draw: Draw) -> Tensor:
        return cutout(crop(color((x - mean) / std, draw), draw), draw)

    after = []
    for label, images in enumerate(stored):
        images = images.clone().requires_grad_()
        decoded = decode(images, factor)
        seen = augment(torch.cat([real[label], decoded]), draws["matching"][label])
        n = len(real[label])
        target, features = extractor.forward_features(seen[:n]).detach(), extractor.forward_features(seen[n:])
        discrepancy = (features.mean(0) - target.mean(0)).square().sum()
        (gradient,) = torch.autograd.grad(discrepancy, images)
        after.append((images - lr * gradient).detach().clamp(0, 1))
        note(real_augmented=seen[:n], decoded=decoded, synthetic_augmented=seen[n:], real_features=target)
        note(synthetic_features=features, discrepancy=discrepancy, matching_gradient=gradient, after_matching=after[-1])
    for label, images in enumerate(after):
        images = images.clone().requires_grad_()
        logits = teacher(augment(decode(images, factor), draws["calibration"][label]))
        loss = F.cross_entropy(logits, torch.full((len(logits),), label))
        (gradient,) = torch.autograd.grad(loss, images)
        note(calibration_logits=logits, calibration_loss=loss, calibration_gradient=gradient)
        note(after_calibration=(images - lr * gradient).detach().clamp(0, 1))
    return {name: torch.stack(values) for name, values in found.items()}
