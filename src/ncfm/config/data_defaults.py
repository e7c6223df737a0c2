"""Default settings that follow from the data, for data without a recipe; each with its reason.

Every rule returns the settings that it chooses, as far as the user gives none of them. The recipes of the package are
the measure: for their data the rules give about what was selected for them on validation data.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from ncfm.config.build import build_protocol
from ncfm.config.choices import Choice
from ncfm.config.schema import RunConfig
from ncfm.data.augment import without
from ncfm.data.image_set import ImageSet
from ncfm.networks.convnet import depth_for
from ncfm.synthetic.counts import Ipc, as_counts, mean_of
from ncfm.training.fit import steps_per_epoch
from ncfm.training.pilot import Pilot, rounds
from ncfm.training.recipe import TrainingRecipe

LEAST_TILE = 12  # pixels per side; smaller ones show nothing
MOST_FACTOR = 2
REAL_PIXELS = 2**22  # per channel, of the real images of an iteration
USUAL_PIXELS = 2**21  # of all images of an iteration, up to which it has the usual number of iterations
STEPS_PER_EPOCH = 10  # of teachers, at least, where batches can be made smaller for it
LEAST_TEACHER_BATCH = 8
LEAST_BATCH, MOST_BATCH = 16, 64  # real images per class
LEAST_ITERATIONS, MOST_ITERATIONS = 300, 1000
AUGMENTS = ("teachers.augment", "distill.augment", "evaluate.augment")

_DIGIT_WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
_CHARACTER = re.compile(
    rf"((digit|letter|char|character|glyph|upper|lower|capital|small)s?[ _-]?)?([^\W_]|{'|'.join(_DIGIT_WORDS)})", re.I
)


def kept(settings: Mapping[str, Any], given: Collection[str]) -> dict[str, Any]:
    """The settings that the user does not give."""
    return {key: value for key, value in settings.items() if key not in given}


def choose(settings: Mapping[str, Any], why: str, given: Collection[str]) -> list[Choice]:
    """A choice of the settings that the user does not give; none if all are given."""
    own = kept(settings, given)
    return [Choice(own, why)] if own else []


def choose_network(images: ImageSet, config: RunConfig, given: Collection[str]) -> list[Choice]:
    """At least two blocks, from 8 px: a single one sees three pixels at a time."""
    if depth_for(images.image_size) > 1 or images.image_size < 8:
        return []
    usual = {"teachers.network": config.teachers.network, "evaluate.network": config.evaluate.network}
    small = {key: "convnet2" for key, name in usual.items() if name == "convnet"}
    return choose(small, f"images of {images.image_size} px; one block sees 3 x 3 px only", given)


def named_as_characters(class_names: Collection[str]) -> bool:
    """Whether all classes are named by letters or digits, and not by the numbers that stand in for names.

    >>> named_as_characters(["a", "b"]), named_as_characters(["digit 1", "digit 7"]), named_as_characters(["0", "1"])
    (True, True, False)
    """
    names = [name.strip() for name in class_names]
    return all(map(_CHARACTER.fullmatch, names)) and not named_by_numbers(names)


def named_by_numbers(class_names: Collection[str]) -> bool:
    """Whether the names are 0, 1, ..., C - 1: digits, or the labels of classes whose names are not known."""
    return list(class_names) == [str(i) for i in range(len(class_names))]


def choose_mirroring(images: ImageSet, config: RunConfig, given: Collection[str], pilot: Pilot | None) -> list[Choice]:
    """No mirroring of characters, and of data of which a pilot does not recognise mirrored images."""
    off, why = _mirroring(images, pilot)
    return choose(_augments(config, off), why, given)


def _mirroring(images: ImageSet, pilot: Pilot | None) -> tuple[bool, str]:
    """Whether mirroring is switched off, and why."""
    grey = images.channels == 1
    if named_as_characters(images.class_names):
        shown = ", ".join(images.class_names[:3])
        return True, f"classes named by characters ({shown}, ...) are not mirrored"
    if pilot is not None:
        accuracies = f"{pilot.accuracies[-1]:.1%} of {pilot.num_held} held-out images, {pilot.mirrored:.1%} mirrored"
        if pilot.mirroring_matters:
            return True, f"images are not mirrored: a network trained without recognises {accuracies}"
        return False, f"images are mirrored: a network trained without recognises {accuracies}"
    if grey and named_by_numbers(images.class_names):
        return True, "grey images of classes named by numbers may be digits, which are not mirrored"
    return False, "images are mirrored; if left and right matter, as in text and signs, leave out flip"


def _augments(config: RunConfig, off: bool) -> dict[str, Any]:
    """The three augmentations, with or without mirroring; the students' is that of the protocol."""
    now = (config.teachers.augment, config.distill.augment, build_protocol(config).recipe.augment)
    if off:
        return {key: without("flip", value) for key, value in zip(AUGMENTS, now, strict=True)}
    return dict(zip(AUGMENTS[:2], now[:2], strict=True))


def choose_teacher_batch(images: ImageSet, config: RunConfig, given: Collection[str]) -> list[Choice]:
    """Smaller batches for small data, so that an epoch has about ten steps."""
    usual, number = config.teachers.batch_size, len(images.train)
    batch = max(number // STEPS_PER_EPOCH, LEAST_TEACHER_BATCH)
    return [] if batch >= usual else choose({"teachers.batch_size": batch}, f"{number} training images", given)


def choose_epochs(
    images: ImageSet, recipe: TrainingRecipe, given: Collection[str], pilot: Pilot | None
) -> list[Choice]:
    """As many epochs as a pilot needed; without one by the number of optimizer steps."""
    if pilot is not None:
        at = pilot.enough
        shown = [f"{epochs}: {value:.1%}" for epochs, value in zip(pilot.epochs, pilot.accuracies, strict=True)]
        why = f"accuracy on {pilot.num_held} images held out of the training split, after epochs {', '.join(shown)}"
        return choose({"teachers.epochs": pilot.epochs[at]}, why, given)
    steps, most = steps_per_epoch(len(images.train), recipe), rounds(len(images.train), recipe)[-1]
    return choose({"teachers.epochs": most}, f"{most * steps} optimizer steps; no accuracy was measured", given)


def choose_factor(images: ImageSet, ipc: Ipc, given: Collection[str]) -> list[Choice]:
    """Mosaics of tiles of at least `LEAST_TILE` px, where every class has enough images to fill them."""
    counts = as_counts(ipc, images.num_classes)
    for factor in range(MOST_FACTOR, 0, -1):
        tile = images.image_size // factor
        enough = all(n * factor**2 <= real for n, real in zip(counts, images.train.counts.tolist(), strict=True))
        if factor == 1 or (tile >= LEAST_TILE and enough):
            break
    if factor > 1:
        why = f"tiles of {tile} px"
    elif images.image_size // MOST_FACTOR < LEAST_TILE:
        why = f"tiles of {images.image_size // MOST_FACTOR} px would show too little"
    else:
        why = f"a class has only {int(images.train.counts.min())} images to fill mosaics"
    return choose({"distill.factor": factor}, why, given)


def choose_batch(images: ImageSet, given: Collection[str]) -> list[Choice]:
    """Real images per class: as many as `REAL_PIXELS` allow, and no more than a class has."""
    fitting = REAL_PIXELS // (images.num_classes * images.image_size**2)
    batch = min(max(fitting, LEAST_BATCH), MOST_BATCH, int(images.train.counts.max()))
    why = f"{images.num_classes} classes of {images.image_size} px, at most {int(images.train.counts.max())} images"
    return choose({"distill.real_batch_per_class": batch}, why, given)


def choose_iterations(images: ImageSet, config: RunConfig, ipc: Ipc, given: Collection[str]) -> list[Choice]:
    """The usual iterations, and fewer where one is expensive: for many classes, images, or pixels."""
    d = config.distill
    per_class = d.real_batch_per_class + mean_of(ipc) * d.factor**2
    pixels = images.num_classes * per_class * images.image_size**2
    fitting = round(MOST_ITERATIONS * USUAL_PIXELS / pixels, -1)
    iterations = int(min(max(fitting, LEAST_ITERATIONS), MOST_ITERATIONS))
    why = f"{images.num_classes} x {per_class:.0f} images of {images.image_size} px in each"
    return choose({"distill.iterations": iterations}, why, given)
