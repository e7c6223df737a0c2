"""Initial images of a synthetic set."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Generator, Tensor

from ncfm._utils.checks import InputError, check_at_least, check_known
from ncfm._utils.options import Options
from ncfm._utils.progress import counted
from ncfm.data.class_batches import draw_class_batches
from ncfm.data.image_set import ImageSet
from ncfm.data.levels import to_float
from ncfm.synthetic.counts import Ipc, as_counts, blackened, width_of
from ncfm.synthetic.formation import Formation, Shrink, stitch
from ncfm.synthetic.synthetic_set import SyntheticSet

Init = Literal["noise", "real", "mosaic", "first"]
INITS: tuple[str, ...] = get_args(Init)


@dataclass(frozen=True)
class Start(Options):
    """The images of a set before its first iteration."""

    init: Init = "mosaic"
    """See `start_images`."""
    extend: SyntheticSet | None = None
    """A set whose images come first in each class, see `extended`."""
    shrink: Shrink = "area"
    """How images become the tiles of mosaics, see `stitch`."""

    def draw(self, real: ImageSet, ipc: Ipc, formation: Formation, generator: Generator) -> SyntheticSet:
        """The set to start from.

        Raises:
            NcfmError: as `start_images` and `check_extension`.
        """
        images = start_images(
            real, ipc=ipc, factor=formation.factor, init=self.init, generator=generator, shrink=self.shrink
        )
        counts = None if isinstance(ipc, int) else ipc
        facts = (real.class_names, real.statistics, formation.factor, formation.mode, formation.bound)
        begun = SyntheticSet(images, *facts, counts=counts)
        return begun if self.extend is None else extended(begun, self.extend)


def start_images(
    real: ImageSet, *, ipc: Ipc, factor: int, init: str, generator: Generator, shrink: Shrink = "area"
) -> Tensor:
    """Initial images (C, ipc, c, h, w) in [0, 1].

    Args:
        real: the real data; only the training split is used.
        ipc: stored images per class, at least 1, or of each class: then the places beyond are black.
        factor: tiles per side of a mosaic.
        init: "noise" - uniform; "real" - random real images of the class; "mosaic" - every stored image is stitched
            from factor^2 random real images of the class; "first" - the same from the first images of the class in the
            data's order, as in the published code.
        generator: draws the images, without replacement within a class.
        shrink: of the images to tiles, see `stitch`.

    Raises:
        NcfmError: if ipc is below 1, or every class has too few real images.
    """
    counts, width = as_counts(ipc, real.num_classes), width_of(ipc)
    check_at_least(min(counts), 1, "ipc (images per class)")
    check_known(init, INITS, "init")
    shape = (real.num_classes, width, real.channels, real.image_size, real.image_size)
    if init == "noise":
        return blackened(torch.rand(shape, generator=generator), counts)
    tiles = 1 if init == "real" else factor
    check_enough(real, tuple(count * tiles**2 for count in counts))
    choose = choose_first if init == "first" else choose_random
    chosen = choose(real, width * tiles**2, generator)  # (C, width * tiles^2, c, h, w)
    return blackened(stitch(chosen.flatten(0, 1), tiles, shrink).unflatten(0, shape[:2]).contiguous(), counts)


def extended(start: SyntheticSet, earlier: SyntheticSet) -> SyntheticSet:
    """The initial set with the images of an earlier set in place of its first images of each class.

    Args:
        start: the initial set.
        earlier: a set of images of the same shape and formation; it may have fewer classes, which are matched by name,
            and fewer images per class.

    Raises:
        NcfmError: as `check_extension`.
    """
    check_extension(earlier, start.class_names, tuple(start.images.shape[1:]), start.formation)
    images = start.images.clone()
    images[[start.class_names.index(name) for name in earlier.class_names], : earlier.ipc] = earlier.images
    return start.with_images(blackened(images, start.stored_counts))


def check_extension(
    earlier: SyntheticSet, class_names: Sequence[str], shape: tuple[int, ...], formation: Formation
) -> None:
    """Check that a set can be extended.

    Args:
        earlier: the set to extend.
        class_names: of the new set.
        shape: (ipc, c, h, w) of the new set.
        formation: factor, mode and bound of the new set.

    Raises:
        NcfmError: if the earlier set has other classes, more images per class, images of another size, or another
            formation.
    """
    unknown = [name for name in earlier.class_names if name not in class_names]
    if unknown:
        raise InputError(f"The set to extend has classes that are missing from the data: {', '.join(unknown[:5])}.")
    if earlier.counts is not None:
        raise InputError("The set to extend has unequal images per class; only sets of equal ones can be extended.")
    ipc, size, own = shape[0], shape[1:], tuple(earlier.images.shape[2:])
    if own != size:
        raise InputError(f"The set to extend has images of (channels, height, width) {own}, the data of {size}.")
    if earlier.ipc > ipc:
        raise InputError(
            f"The set to extend has {counted(earlier.ipc, 'image')} per class, more than the requested {ipc}."
        )
    for name, ours in vars(formation).items():
        theirs = getattr(earlier, name)
        if theirs != ours and (name != "bound" or formation.mode == "bounded"):
            raise InputError(f"The set to extend has {name} {theirs}, this run {ours}; give distill.{name}={theirs}.")


def choose_random(real: ImageSet, per_class: int, generator: Generator) -> Tensor:
    """Random training images of every class without replacement, (C, per_class, c, h, w) in [0, 1].

    A class with fewer images repeats them in the drawn order; see `check_enough`.
    """
    at = draw_class_batches(real.train, per_class, generator)
    return to_float(real.train.batch(at.flatten())).unflatten(0, at.shape).cpu()


def choose_first(real: ImageSet, per_class: int, generator: Generator) -> Tensor:
    """The first training images of every class in the data's order, as from `choose_random`; nothing is drawn."""
    at = real.train.offsets[:, None] + torch.arange(per_class) % real.train.counts[:, None]  # (C, per_class)
    return to_float(real.train.batch(at.flatten())).unflatten(0, at.shape).cpu()


def check_enough(real: ImageSet, needed: Ipc) -> None:
    """Warn about classes with fewer training images than ``needed`` of each class.

    Raises:
        NcfmError: if all have fewer.
    """
    rare = _with_fewer(real, needed)
    if not rare:
        return
    warnings.warn(
        f"{len(rare)} of {real.num_classes} classes have fewer than the {width_of(needed)} images that are needed "
        f"({', '.join(rare[:3])}{', ...' if len(rare) > 3 else ''}; fewest {int(real.train.counts.min())}): "
        "their images are repeated.",
        stacklevel=2,
    )


def check_possible(real: ImageSet, ipc: Ipc, factor: int) -> None:
    """Check before the work that some class has the ``ipc * factor^2`` training images that `start_images` takes.

    Raises:
        NcfmError: if all have fewer.
    """
    _with_fewer(real, tuple(count * factor**2 for count in as_counts(ipc, real.num_classes)))


def _with_fewer(real: ImageSet, needed: Ipc) -> list[str]:
    """The names of the classes with fewer training images than ``needed`` of each class.

    Raises:
        InputError: if all have fewer.
    """
    counts = real.train.counts
    fewer = counts < torch.tensor(as_counts(needed, real.num_classes))
    if bool(fewer.all()):
        raise InputError(
            f"Expected at least {width_of(needed)} real images in every class, but class "
            f"{real.class_names[int(counts.argmin())]!r} has {int(counts.min())}; lower --ipc or the factor, or start "
            "from noise (--set distill.init=noise)."
        )
    return [real.class_names[i] for i in fewer.nonzero().flatten().tolist()]
