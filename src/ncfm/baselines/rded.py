"""Mosaics of realistic crops: crops of real images, ranked by teachers and stitched, without optimisation (RDED).

Each image contributes the crop with the highest teacher confidence for its class, and each class the best of these.
Crops are first chosen as positions and boxes, and then cut out.

Reference:
    Sun, Shi, Shao and Lin, "On the Diversity and Realism of Distilled Dataset: An Efficient Dataset Distillation
    Paradigm", CVPR 2024, arXiv 2312.03526. Its students learn from teacher predictions for every augmented batch, see
    `ncfm.synthetic.soft_labels.TeacherTargets`.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from ncfm._utils.checks import InputError, check_at_least, check_factor
from ncfm._utils.files import content_hash
from ncfm._utils.types import Images
from ncfm.baselines.selection_cache import check_no_empty_class, read_choice, write_choice
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float
from ncfm.synthetic.formation import stitch
from ncfm.synthetic.initialization import check_enough
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool

NUM_CROPS = 5  # per image
AREA = (0.08, 1.0)  # of a crop, as a share of the image: the usual range of random resized crops
CHUNK_SIZE = 256  # crops on the device at a time

# Incremented when a change of the code makes cached crops differ from newly chosen ones.
CACHE_VERSION = 1


class Crops(NamedTuple):
    """Square crops of training images."""

    positions: Tensor  # (..., k) int64 of the images in the training split
    boxes: Tensor  # (..., k, 3) int64 first row, first column and side, in pixels


def rded(
    real: ImageSet,
    pool: TeacherPool,
    *,
    ipc: int,
    factor: int = 2,
    generator: Generator,
    num_crops: int = NUM_CROPS,
    pool_per_class: int | None = None,
    area: tuple[float, float] = AREA,
    decode: bool = False,
    chunk_size: int = CHUNK_SIZE,
) -> SyntheticSet:
    """A set of ``ipc`` mosaics per class, each of factor^2 realistic crops.

    Args:
        real: the real data; only the training split is used.
        pool: the teachers that rank crops, see `choose_crops`.
        ipc: mosaics per class.
        factor: tiles per side of a mosaic; 1 stores single crops.
        generator: draws the crops.
        num_crops, pool_per_class, area, chunk_size: as in `choose_crops`.
        decode: False, as in the paper: training uses the mosaics themselves, and the set's factor is 1. True: training
            uses each tile enlarged, as for sets that this package distils.

    Raises:
        NcfmError: as in `choose_crops`.
    """
    chosen = choose_crops(
        real,
        pool,
        ipc=ipc,
        factor=factor,
        generator=generator,
        num_crops=num_crops,
        pool_per_class=pool_per_class,
        area=area,
        chunk_size=chunk_size,
    )
    whole = to_float(real.train.batch(chosen.positions.flatten()).cpu())
    tiles = crop(whole, chosen.boxes.flatten(0, 1)).clamp_(0, 1)  # (C * ipc * factor^2, c, h, w)
    images = stitch(tiles, factor).unflatten(0, (real.num_classes, ipc)).contiguous()
    facts = {"method": "rded", "tiles": factor, "num_crops": num_crops}
    facts |= {"pool_per_class": pool_per_class, "area": list(area)}
    return SyntheticSet(images, real.class_names, real.statistics, factor=factor if decode else 1, facts=facts)


def choose_crops(
    real: ImageSet,
    pool: TeacherPool,
    *,
    ipc: int,
    factor: int,
    generator: Generator,
    num_crops: int = NUM_CROPS,
    pool_per_class: int | None = None,
    area: tuple[float, float] = AREA,
    chunk_size: int = CHUNK_SIZE,
) -> Crops:
    """The ipc * factor^2 most realistic crops of each class, (C, k), at most one per image, the best first.

        realism(crop) = log p(class | crop),    p the mean of the distributions of all trained teachers,

    the negative cross-entropy, for ``num_crops`` random squares of every image, enlarged to its size. In case of ties
    the first crop is chosen. A class with fewer images repeats its crops. Choices are cached by content hash of
    everything that determines them, except the machine. ``generator`` advances equally on a cache hit and a miss.

    Args:
        real: the real data; only the training split is used.
        pool: the teachers.
        ipc, factor: mosaics per class, and their tiles per side.
        generator: draws a seed per class, for its images and its crops.
        num_crops: crops per image.
        pool_per_class: random images per class that are cropped; default: all.
        area: smallest and largest share of an image that a crop covers, uniform in between.
        chunk_size: crops that are ranked at a time, so that memory does not grow with the number of classes. Choices
            depend on it only through rounding.

    Raises:
        NcfmError: for a factor larger than the image, an invalid area, fewer images per class in the pool than needed,
            or a class without images.
    """
    check_at_least(ipc, 1, "ipc (images per class)")
    check_factor(real.image_size, factor)
    check_at_least(num_crops, 1, "num_crops")
    check_at_least(chunk_size, 1, "chunk_size")
    if not 0 < area[0] <= area[1] <= 1:
        raise InputError(f"area must be two shares of an image, 0 < smallest <= largest <= 1, got {area}.")
    count = ipc * factor**2
    if pool_per_class is not None:
        check_at_least(pool_per_class, count, "pool_per_class (images of a class that are cropped)")
    check_enough(real, count)
    check_no_empty_class(real.train)
    seeds = torch.randint(2**32, (real.num_classes,), generator=generator)  # before the cache lookup
    key = content_hash(
        f"crops {CACHE_VERSION}",
        real.fingerprint,
        repr((count, num_crops, pool_per_class, float(area[0]), float(area[1]))),
        *pool.fingerprints,
        seeds,
    )
    found = read_choice(key, real.train, count)
    if found is not None and _are_boxes(found.get("boxes"), (real.num_classes, count, 3), real.image_size):
        return Crops(found["positions"], found["boxes"])
    of_classes = []
    for index, seed in enumerate(seeds.tolist()):
        drawn = draw_crops(
            real, index, num_crops, pool_per_class=pool_per_class, area=area, generator=Generator().manual_seed(seed)
        )
        best = most_realistic(drawn, realism(drawn, index, real, pool, chunk_size), count)
        of_classes.append(best)
    chosen = Crops(*(torch.stack(parts) for parts in zip(*of_classes, strict=True)))
    write_choice(key, chosen._asdict(), data=real.name, method="rded")
    return chosen


def draw_crops(
    real: ImageSet,
    index: int,
    num_crops: int,
    *,
    pool_per_class: int | None,
    area: tuple[float, float],
    generator: Generator,
) -> Crops:
    """Random crops (n, num_crops) of the n images of one class, or of ``pool_per_class`` random ones of them.

    The side is ``sqrt(share)`` of the image's, rounded to pixels and at least one; the position is uniform.
    """
    offset, size = int(real.train.offsets[index]), int(real.train.counts[index])
    at = torch.arange(size)
    if pool_per_class is not None and pool_per_class < size:
        at = torch.randperm(size, generator=generator)[:pool_per_class].sort().values  # sorted: read file in order
    u = torch.rand(3, len(at), num_crops, generator=generator)  # uniform in [0, 1)
    share = area[0] + (area[1] - area[0]) * u[0]
    side = (real.image_size * share.sqrt()).round().clamp_min(1)
    corner = torch.floor(u[1:] * (real.image_size - side + 1))  # (2, n, num_crops)
    boxes = torch.stack([*corner, side], dim=-1).long()
    return Crops((offset + at)[:, None].expand(-1, num_crops), boxes)


def realism(crops: Crops, index: int, real: ImageSet, pool: TeacherPool, chunk_size: int) -> Tensor:
    """``log p(class | crop)`` of the pool's teachers for crops of class ``index``, in any shape; on the CPU."""
    device = next(pool.whole.parameters()).device
    scores = []
    pairs = zip(crops.positions.flatten().split(chunk_size), crops.boxes.flatten(0, -2).split(chunk_size), strict=True)
    for at, boxes in pairs:
        images = to_float(real.train.batch(at).to(device))
        scores.append(pool.log_probabilities(crop(images, boxes.to(device)))[:, index])
    return torch.cat(scores).view(crops.positions.shape)


def most_realistic(crops: Crops, scores: Tensor, count: int) -> Crops:
    """The ``count`` best of the best crops of each row, the best first, for crops (n, r) with scores (n, r)."""
    best, which = scores.max(dim=1)  # (n,)
    rows = best.sort(descending=True, stable=True).indices[:count]
    rows = rows[torch.arange(count) % len(rows)]
    return Crops(crops.positions[rows, which[rows]], crops.boxes[rows, which[rows]])


def crop(images: Images, boxes: Tensor) -> Images:
    """Cut one square out of every image and enlarge it to the image's size (bilinear).

    Args:
        images: (n, c, h, h).
        boxes: (n, 3) first row, first column and side of the squares, in pixels.

    Returns:
        (n, c, h, h); pixels outside a square have no influence.
    """
    size = images.shape[-1]
    top, left, side = boxes.to(images.dtype).unbind(1)
    # Centres of the new pixels, in pixels of the square from the centre of its first one, clamped to the square.
    steps = (torch.arange(size, device=images.device) + 0.5) / size
    inside = (steps * side[:, None] - 0.5).clamp_min(0).minimum(side[:, None] - 1)  # (n, size)
    rows, columns = ((start[:, None] + inside) * 2 / (size - 1) - 1 for start in (top, left))  # the image is [-1, 1]
    grid = torch.stack(
        [columns[:, None, :].expand(-1, size, -1), rows[:, :, None].expand(-1, -1, size)], dim=-1
    )  # (n, size, size, 2)
    return F.grid_sample(images, grid, align_corners=True, padding_mode="border")


def _are_boxes(boxes: Tensor | None, shape: tuple[int, ...], image_size: int) -> bool:
    """Whether cached boxes are squares within an image."""
    if boxes is None or boxes.dtype != torch.int64 or boxes.shape != shape:
        return False
    corner, side = boxes[..., :2], boxes[..., 2:]
    return bool(((corner >= 0) & (side >= 1) & (corner + side <= image_size)).all())
