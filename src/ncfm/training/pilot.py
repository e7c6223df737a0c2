"""A pilot: one network that shows how long teachers have to train on unknown data, and whether these may be mirrored.

It learns from a part of the training split, without mirroring, and is tested on the rest. Its training consists of
rounds, each with the whole schedule of the recipe; after a round it has had twice the epochs of the one before. It ends
when the accuracy is high enough, no longer rises, or took enough steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ncfm._utils.cache import CacheEntry
from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled
from ncfm._utils.files import content_hash
from ncfm._utils.seeding import generator
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.splitting import carve_validation
from ncfm.networks.registry import is_own, on_device
from ncfm.training.fit import fit, predict, steps_per_epoch
from ncfm.training.recipe import TrainingRecipe, recipe_text
from ncfm.training.teachers import network_for

HELD = 0.15  # share of the training split that it is tested on
MOST_HELD = 5000  # images; more change nothing
LEAST_HELD = 50  # images; fewer say nothing
TARGET = 0.97  # accuracy on the held-out images that is enough
GAIN = 0.01  # rise of that accuracy by twice the epochs; below it the shorter training is enough
FIRST_STEPS, MOST_STEPS = 150, 3000  # optimizer steps of the first round, and of all rounds
MOST_EPOCHS = 80  # of all rounds, for data of few batches

CACHE_VERSION = 1  # raised when a change of the code makes cached pilots differ from fresh ones


@dataclass(frozen=True)
class Pilot:
    """What a pilot showed."""

    epochs: tuple[int, ...]  # of training before each test
    accuracies: tuple[float, ...]  # on the held-out images, at each test
    mirrored: float  # accuracy on the same images mirrored left to right, at the end
    num_held: int  # images that it was tested on
    lost: int  # of them, recognised as they are, but not mirrored
    gained: int  # recognised mirrored only

    @property
    def enough(self) -> int:
        """Which test had the accuracy that is enough: the last one, or the one before if it rose no more."""
        last = len(self.accuracies) - 1
        rose = last == 0 or self.accuracies[last] - self.accuracies[last - 1] >= GAIN
        return last if rose or self.accuracies[last] >= TARGET else last - 1

    @property
    def mirroring_matters(self) -> bool:
        """Whether a tenth or more of the recognised images are not recognised mirrored, and not by chance.

        By McNemar's test on the images that only one of the two kinds is recognised of, at two standard errors.
        """
        net = self.lost - self.gained
        recognised = self.accuracies[-1] * self.num_held
        return net > 2 * (self.lost + self.gained) ** 0.5 and net >= 0.1 * recognised


def is_possible(images: ImageSet) -> bool:
    """Whether a part of the training split can be held out that is large enough to say something."""
    return HELD * len(images.train) >= LEAST_HELD and int(images.train.counts.max()) > 1


def rounds(num_images: int, recipe: TrainingRecipe) -> list[int]:
    """Epochs of training before each test, if no test is good enough.

    >>> recipe = TrainingRecipe(1, "sgd", 0.1, 64, "one-cycle")
    >>> rounds(1145, recipe), rounds(42500, recipe)  # digits, CIFAR-10
    ([9, 18, 36, 72], [1, 2, 4])
    """
    steps = steps_per_epoch(num_images, recipe)
    found = [min(-(-FIRST_STEPS // steps), MOST_EPOCHS)]
    while 2 * found[-1] <= MOST_EPOCHS and 2 * found[-1] * steps <= MOST_STEPS:
        found.append(2 * found[-1])
    return found


def held_out(images: ImageSet) -> tuple[ImageSplit, ImageSplit]:
    """The part of the training split that a pilot learns from, and the one that it is tested on; always the same."""
    share = min(HELD, MOST_HELD / len(images.train))
    return carve_validation(images.train, share, generator(0, "pilot", "held out"))


def train_pilot(
    images: ImageSet,
    *,
    network: str,
    recipe: TrainingRecipe,
    compute: Compute,
    on_epoch: Callable[[int], None] | None = None,
) -> Pilot:
    """Train a pilot. It does not depend on the seed of a run: all runs on the same data choose alike.

    Args:
        images: the real set; its test split is never touched.
        network: a name for `ncfm.networks.create_network`.
        recipe: of the teachers, without mirroring; its epochs do not matter.
        compute: device, precision, compilation.
        on_epoch: called with the number of finished epochs.

    Raises:
        RunError: if the loss is not finite.
    """
    rest, held = held_out(images)
    module = on_device(network_for(images, network, seed=0), compute.device)
    forward = compiled(module, compute.compile_networks)
    done, tested, accuracies = 0, rounds(len(rest), recipe), list[float]()
    predictions = torch.zeros(0)
    for index, total in enumerate(tested):
        before = done

        def after_epoch(epoch: int, before: int = before) -> None:
            if on_epoch is not None:
                on_epoch(before + epoch)

        fit(
            module,
            rest.images,
            rest.labels,
            recipe=replace(recipe, epochs=total - done),
            statistics=images.statistics,
            generator=generator(0, "pilot", index),
            forward=forward,
            precision=compute.precision,
            after_epoch=after_epoch,
        )
        done = total
        predictions = predict(module, held.images, statistics=images.statistics, forward=forward).argmax(1)
        accuracies.append(_share(predictions == held.labels))
        if accuracies[-1] >= TARGET or (index and accuracies[-1] - accuracies[-2] < GAIN):
            break
    mirrored = predict(module, held.images.flip(-1), statistics=images.statistics, forward=forward).argmax(1)
    right, right_mirrored = predictions == held.labels, mirrored == held.labels
    return Pilot(
        tuple(tested[: len(accuracies)]),
        tuple(accuracies),
        _share(right_mirrored),
        len(held),
        int((right & ~right_mirrored).sum()),
        int((right_mirrored & ~right).sum()),
    )


def _share(right: Tensor) -> float:
    return float(right.double().mean())


def pilot_entry(
    images: ImageSet, network: str, recipe: TrainingRecipe, precision: torch.dtype, place: Path | None = None
) -> CacheEntry:
    """Where a pilot is cached, by everything that determines it except the machine."""
    settings = recipe_text(replace(recipe, epochs=0))
    return CacheEntry(
        "pilots", content_hash(f"pilot {CACHE_VERSION}", images.fingerprint, network, settings, str(precision)), place
    )


def read_pilot(entry: CacheEntry) -> Pilot | None:
    """The cached pilot; None if there is none."""

    def parse(entry: CacheEntry) -> Pilot:
        stored: dict[str, Any] = entry.facts()
        counts = {name: int(stored[name]) for name in ("num_held", "lost", "gained")}
        epochs, accuracies = tuple(map(int, stored["epochs"])), tuple(map(float, stored["accuracies"]))
        return Pilot(epochs, accuracies, float(stored["mirrored"]), **counts)

    return entry.read(parse)


def cached_pilot(
    images: ImageSet,
    *,
    network: str,
    recipe: TrainingRecipe,
    compute: Compute,
    on_epoch: Callable[[int], None] | None = None,
) -> Pilot:
    """`train_pilot`, or what the cache has of it; networks that are not the package's own are always trained."""
    entry = pilot_entry(images, network, recipe, compute.precision)
    found = read_pilot(entry) if is_own(network) else None
    if found is None:
        found = train_pilot(images, network=network, recipe=recipe, compute=compute, on_epoch=on_epoch)
        if is_own(network):
            entry.write(facts=asdict(found))
    return found
