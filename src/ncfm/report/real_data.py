"""The set beside its real data: some images of each class, a map of features, the nearest real image of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ncfm._utils.checks import NcfmError
from ncfm._utils.progress import Reporter
from ncfm._utils.seeding import generator
from ncfm.data.image_set import ImageSet, draw_class_batches, to_float, to_uint8
from ncfm.evaluation.nearest_real import Neighbours, nearest, principal_plane
from ncfm.synthetic.formation import as_stored, decode
from ncfm.synthetic.synthetic_set import SyntheticSet

SHOWN = 10  # real images of a class to look at
MAX_QUERIES = 2000  # synthetic images compared
MAX_PIXELS = 2**26  # of the real images compared, of one channel: 65,536 images of 32 px
MAPPED, JUDGED = 1000, 200  # real images drawn in the map, and compared with the others as a measure
AT_ONCE = 1024  # real images in memory as floats

NEAR_PIXELS = 0.01  # root-mean-square difference of pixels in [0, 1] below which an image is nearly a copy
NEAR_RATIO = 0.5  # or distance to the nearest real image over that to the second: it stands out


@dataclass(frozen=True)
class Likeness:
    """Distances to the nearest real training image in one space."""

    found: Neighbours  # of the synthetic images; `at`: position in the training split
    of_real: Tensor  # (q,) distances of some real images to their nearest other one: what is usual

    @property
    def medians(self) -> tuple[float, float]:
        """Of the synthetic images and of the real ones."""
        return float(self.found.distance.median()), float(self.of_real.median())


@dataclass(frozen=True)
class RealLook:
    """The set beside its real data. Synthetic images are the decoded ones, M of them."""

    class_names: tuple[str, ...]
    samples: Tensor  # (C, n, c, h, w) uint8 real images
    compared: int  # real training images that were compared
    total: int  # that there are
    same_data: bool  # whether they are those that the set was made from, to the byte
    synthetic: Tensor  # (M, c, h, w) uint8
    labels: Tensor  # (M,)
    nearest_pixel: Tensor  # (M, c, h, w) uint8
    nearest_feature: Tensor  # (M, c, h, w) uint8
    nearest_labels: tuple[Tensor, Tensor]  # (M,) classes of both
    pixel: Likeness  # root-mean-square difference of pixels in [0, 1], at the resolution that the set stores
    feature: Likeness  # Euclidean
    real_points: Tensor  # (r, 2) in the map
    real_labels: Tensor  # (r,)
    points: Tensor  # (M, 2)
    shares: tuple[float, float]  # of the real features' variance along the map's axes
    teacher: str

    @property
    def copies(self) -> Tensor:
        """(M,) whether an image is nearly a copy of a real one: hardly different, or far nearer to it than to any
        other."""
        found = self.pixel.found
        return (found.distance < NEAR_PIXELS) | (found.distance < NEAR_RATIO * found.second)


def check_same_data(synthetic: SyntheticSet, images: ImageSet, class_names: tuple[str, ...] | None) -> None:
    """Check that real data have the classes and the image shape of a set.

    Args:
        synthetic: the set.
        images: the real data.
        class_names: that the set has; None where they are not known.

    Raises:
        NcfmError: if they have not.
    """
    shape = (images.num_classes, images.channels, images.image_size)
    if (synthetic.num_classes, *synthetic.images.shape[2:4]) != shape:
        raise NcfmError(
            f"The set has {synthetic.num_classes} classes of images {tuple(synthetic.images.shape[2:])}, {images.name} "
            f"{images.num_classes} of {(images.channels, images.image_size, images.image_size)}: other data."
        )
    if class_names is not None and class_names != images.class_names:
        raise NcfmError(f"The set and {images.name} have classes of other names: other data.")


def look_at_real(
    synthetic: SyntheticSet,
    images: ImageSet,
    features: Callable[[Tensor], Tensor],
    *,
    teacher: str,
    fingerprint: str | None,
    reporter: Reporter,
) -> RealLook:
    """Compare the decoded images of a set with the real training images, as pixels and as features.

    Args:
        synthetic: the set.
        images: the real data, see `check_same_data`.
        features: (n, d) of images (n, c, h, w) in [0, 1], both on the CPU.
        teacher: name of the network whose features these are.
        fingerprint: of the data that the set was made from, if it is known.
        reporter: receives progress updates.
    """
    train, rng = images.train, generator(0, "report")
    decoded, labels = _decoded(synthetic)
    count = min(len(train), max(MAX_PIXELS // images.image_size**2, 1))
    at = torch.randperm(len(train), generator=rng)  # in random order: its first are samples
    some = at[: min(MAPPED, count)]
    at, judged = at[:count].sort().values, some[:JUDGED]
    # Real images as they would be stored: a mosaic's tile that has not moved is then at distance 0.
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
    queries = decoded.flatten(1), pixels(some_real[: len(judged)])
    root = math.sqrt(decoded[0].numel())
    pixel = _likeness(*queries, real_parts("nearest pixels", pixels), at, judged, unit=root)
    queries = own, of_some[: len(judged)]
    feature = _likeness(*queries, real_parts("nearest features", features), at, judged, unit=1.0)
    plane = principal_plane(of_some)
    samples = draw_class_batches(train, min(SHOWN, int(train.counts.max())), rng).cpu()
    return RealLook(
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
    """Training images (M, c, h, w) of the set with labels (M,), the first ones of every class if there are many."""
    decoded = decode(synthetic.images, synthetic.factor, synthetic.mode, synthetic.bound)  # (C, m, c, h, w)
    decoded = decoded[:MAX_QUERIES, : max(MAX_QUERIES // len(decoded), 1)]
    labels = torch.arange(len(decoded)).repeat_interleave(decoded.shape[1])
    return decoded.flatten(0, 1).clamp(0, 1), labels


def _likeness(
    of_set: Tensor, of_real: Tensor, parts: Iterator[Tensor], at: Tensor, judged: Tensor, *, unit: float
) -> Likeness:
    """The nearest real images in one space.

    Args:
        of_set: (M, d) the synthetic images there.
        of_real: (q, d) the real ones that serve as a measure; each is compared with all but itself.
        parts: all real images there, in the order of ``at``.
        at: their positions in the split, ascending.
        judged: (q,) positions of those that serve as a measure.
        unit: distances are told in.
    """
    exclude = torch.cat([torch.full((len(of_set),), -1), torch.searchsorted(at, judged)])
    found = nearest(torch.cat([of_set, of_real]), parts, exclude=exclude)
    m = len(of_set)
    own = Neighbours(at[found.at[:m]], found.distance[:m] / unit, found.second[:m] / unit)
    return Likeness(own, found.distance[m:] / unit)
