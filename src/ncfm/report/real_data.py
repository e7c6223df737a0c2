"""Comparison of a set with its real data: sample images, features in the plane, nearest real images."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.progress import Reporter, counted
from ncfm._utils.seeding import generator
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float, to_uint8
from ncfm.evaluation.nearest_real import Neighbours, nearest, principal_plane
from ncfm.synthetic.formation import as_stored, decode
from ncfm.synthetic.synthetic_set import SyntheticSet

SHOWN = 10  # real images shown per class
MAX_QUERIES = 2000  # synthetic images compared
MAX_PIXELS = 2**26  # pixels of the real images compared, per channel: 65,536 images of 32 px
MAPPED, REFERENCES = 1000, 200  # real images in the plane, and compared with other real images for reference
AT_ONCE = 1024  # real images in memory as floats

NEAR_PIXELS = 0.01  # root-mean-square difference of pixels in [0, 1] below which an image is a near copy
NEAR_RATIO = 0.5  # the same for the distance to the nearest real image over that to the second nearest


@dataclass(frozen=True)
class NearestDistances:
    """Distances to the nearest real training image in one space."""

    found: Neighbours  # of the synthetic images; `at`: position in the training split
    of_real: Tensor  # (q,) distances of some real images to the nearest other one, for reference

    @property
    def medians(self) -> tuple[float, float]:
        """Median distances of the synthetic and of the real images."""
        return float(self.found.distance.median()), float(self.of_real.median())


@dataclass(frozen=True)
class RealComparison:
    """Comparison of M decoded images of a set with its real data."""

    class_names: tuple[str, ...]
    samples: Tensor  # (C, n, c, h, w) uint8 real images
    compared: int  # real training images that were compared
    total: int  # real training images
    same_data: bool  # whether the data are identical to those that the set was made from
    synthetic: Tensor  # (M, c, h, w) uint8
    labels: Tensor  # (M,)
    nearest_pixel: Tensor  # (M, c, h, w) uint8
    nearest_feature: Tensor  # (M, c, h, w) uint8
    nearest_labels: tuple[Tensor, Tensor]  # (M,) classes of the nearest images by pixels and by features
    pixel: NearestDistances  # root-mean-square difference of pixels in [0, 1], at the resolution that the set stores
    feature: NearestDistances  # Euclidean
    real_points: Tensor  # (r, 2) in the plane
    real_labels: Tensor  # (r,)
    points: Tensor  # (M, 2)
    shares: tuple[float, float]  # of the variance of the real features, per axis of the plane
    teacher: str

    @property
    def copies(self) -> Tensor:
        """(M,) whether an image is a near copy of a real one: close to it, or much closer than to any other."""
        found = self.pixel.found
        return (found.distance < NEAR_PIXELS) | (found.distance < NEAR_RATIO * found.second)


def check_same_data(synthetic: SyntheticSet, images: ImageSet, class_names: tuple[str, ...] | None) -> None:
    """Check that real data have the classes and the image shape of a set.

    Args:
        synthetic: the set.
        images: the real data.
        class_names: of the set; None if they are not known.

    Raises:
        NcfmError: if classes or shape differ.
    """
    shape = (images.num_classes, images.channels, images.image_size)
    if (synthetic.num_classes, *synthetic.images.shape[2:4]) != shape:
        raise InputError(
            f"The set has {counted(synthetic.num_classes, 'class')} of images {tuple(synthetic.images.shape[2:])}, "
            f"{images.name} "
            f"{images.num_classes} of {(images.channels, images.image_size, images.image_size)}: other data."
        )
    if class_names is not None and class_names != images.class_names:
        raise InputError(f"The set and {images.name} have classes of other names: other data.")


def compare_images(
    synthetic: SyntheticSet,
    images: ImageSet,
    features: Callable[[Tensor], Tensor],
    *,
    teacher: str,
    fingerprint: str | None,
    reporter: Reporter,
) -> RealComparison:
    """Compare the decoded images of a set with the real training images, as pixels and as features.

    Args:
        synthetic: the set.
        images: the real data, see `check_same_data`.
        features: (n, d) of images (n, c, h, w) in [0, 1], both on the CPU.
        teacher: name of the network whose features these are.
        fingerprint: of the data that the set was made from; None if it is not known.
        reporter: receives progress updates.
    """
    train, rng = images.train, generator(0, "report")
    decoded, labels = _decoded(synthetic)
    count = min(len(train), max(MAX_PIXELS // images.image_size**2, 1))
    at = torch.randperm(len(train), generator=rng)  # in random order: its first are samples
    some = at[: min(MAPPED, count)]
    at, references = at[:count].sort().values, some[:REFERENCES]
    # Real images at the stored resolution: an unchanged tile of a mosaic is then at distance 0.
    factor = synthetic.factor if synthetic.mode == "single" else 1

    def pixels(x: Tensor) -> Tensor:
        return as_stored(x, factor).flatten(1)

    def real_parts(stage: str, space: Callable[[Tensor], Tensor]) -> Iterator[Tensor]:
        reporter.begin(stage, count, unit="image")
        for i, part in enumerate(at.split(AT_ONCE)):
            yield space(to_float(train.batch(part).cpu()))
            reporter.update(min((i + 1) * AT_ONCE, count))
        reporter.end()

    some_real = to_float(train.batch(some).cpu())
    of_some, own = features(some_real), features(decoded)
    queries = decoded.flatten(1), pixels(some_real[: len(references)])
    root = math.sqrt(decoded[0].numel())
    pixel = _nearest_distances(*queries, real_parts("nearest pixels", pixels), at, references, unit=root)
    queries = own, of_some[: len(references)]
    feature = _nearest_distances(*queries, real_parts("nearest features", features), at, references, unit=1.0)
    plane = principal_plane(of_some)
    samples = draw_class_batches(train, min(SHOWN, int(train.counts.max())), rng).cpu()
    return RealComparison(
        class_names=images.class_names,
        samples=train.batch(samples.flatten()).cpu().unflatten(0, samples.shape),
        compared=count,
        total=len(train),
        same_data=fingerprint is None or fingerprint == images.fingerprint,
        synthetic=to_uint8(decoded),
        labels=labels,
        nearest_pixel=train.batch(pixel.found.at).cpu(),
        nearest_feature=train.batch(feature.found.at).cpu(),
        nearest_labels=(train.labels.cpu()[pixel.found.at], train.labels.cpu()[feature.found.at]),
        pixel=pixel,
        feature=feature,
        real_points=plane.project(of_some),
        real_labels=train.labels.cpu()[some],
        points=plane.project(own),
        shares=plane.shares,
        teacher=teacher,
    )


def _decoded(synthetic: SyntheticSet) -> tuple[Tensor, Tensor]:
    """Decoded images (M, c, h, w) with labels (M,); of large sets the first ones of every class."""
    decoded = decode(synthetic.images, synthetic.factor, synthetic.mode, synthetic.bound)  # (C, m, c, h, w)
    decoded = decoded[:MAX_QUERIES, : max(MAX_QUERIES // len(decoded), 1)]
    used = synthetic.decoded_in_use[: len(decoded), : decoded.shape[1]].flatten()
    labels = torch.arange(len(decoded)).repeat_interleave(decoded.shape[1])
    return decoded.flatten(0, 1)[used].clamp(0, 1), labels[used]


def _nearest_distances(
    of_set: Tensor, of_real: Tensor, parts: Iterator[Tensor], at: Tensor, references: Tensor, *, unit: float
) -> NearestDistances:
    """The nearest real images in one space.

    Args:
        of_set: (M, d) synthetic images in that space.
        of_real: (q, d) real images for reference; each is compared with all others.
        parts: all real images in that space, in the order of ``at``.
        at: their positions in the split, ascending.
        references: (q,) positions of the real images for reference.
        unit: of the returned distances.
    """
    exclude = torch.cat([torch.full((len(of_set),), -1), torch.searchsorted(at, references)])
    found = nearest(torch.cat([of_set, of_real]), parts, exclude=exclude)
    m = len(of_set)
    own = Neighbours(at[found.at[:m]], found.distance[:m] / unit, found.second[:m] / unit)
    return NearestDistances(own, found.distance[m:] / unit)
