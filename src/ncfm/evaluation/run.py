"""Training fresh students on a set and measuring them on the real test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from ncfm._checks import NcfmError, check_at_least, check_finite, check_labels
from ncfm._device import compiled
from ncfm._seeding import derive_seed, generator
from ncfm._typing import Interval, LabelledImages, Statistics
from ncfm.data.images import ImageSplit, to_if_it_fits
from ncfm.evaluation.protocol import Protocol
from ncfm.evaluation.side_by_side import fit_side_by_side
from ncfm.networks.registry import create_network, on_device
from ncfm.training import accuracy, fit, steps_per_epoch


@dataclass(frozen=True)
class EvaluationResult:
    """Accuracies of the students of one set; fractions in [0, 1]."""

    accuracies: tuple[float, ...]  # of each student after its last epoch: the result
    best_accuracies: tuple[float, ...]  # the best over looks at the test split, only to compare with papers
    network: str
    protocol: str
    epochs: int
    num_images: int  # that a student saw (decoded)
    seconds: float

    @property
    def interval(self) -> Interval:
        """Mean, deviation and 95 % t interval of the last-epoch accuracies."""
        return interval(self.accuracies)

    @property
    def accuracy_mean(self) -> float:
        """Mean last-epoch accuracy."""
        return self.interval.mean

    @property
    def accuracy_std(self) -> float:
        """Standard deviation of the last-epoch accuracy over students."""
        return self.interval.std

    @property
    def accuracy_best_mean(self) -> float:
        """Mean of the best-over-looks accuracies: optimistic, since it selects on the test split."""
        return sum(self.best_accuracies) / len(self.best_accuracies)


def interval(values: Sequence[float]) -> Interval:
    """Mean, sample deviation and two-sided 95 % interval by Student's t.

    One value has no interval: low and high are NaN.

    Raises:
        NcfmError: for no values.

    >>> interval([0.5, 0.7]).mean
    0.6
    """
    check_at_least(len(values), 1, "number of values")
    n = len(values)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, 0.0, math.nan, math.nan)
    from scipy.stats import t as student_t  # slow to import

    std = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = float(student_t.ppf(0.975, n - 1)) * std / math.sqrt(n)
    return Interval(mean, std, mean - half, mean + half)


def evaluate(
    train: LabelledImages,
    test: ImageSplit,
    *,
    num_classes: int,
    statistics: Statistics,
    protocol: Protocol,
    network: str = "convnet",
    seed: int = 0,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    compile_networks: bool = False,
    side_by_side: bool = False,
    on_epoch: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Train ``protocol.num_runs`` fresh students on ``train`` and test each on ``test``.

    Takes plain tensors, so it judges anybody's set. The test split is looked at after the last epoch, and, if the
    protocol has more than one look, at equal distances before: those enter only the best-over-looks column.

    Args:
        train: images in [0, 1] (or uint8) and their labels.
        test: the real test split.
        num_classes: C.
        statistics: normalisation, of the real training split.
        protocol: recipe, number of students and of looks.
        network: a name for `create_network`.
        seed: student i has the seed derived for i: its weights, order, augmentation.
        device, precision, compile_networks: how to compute.
        side_by_side: train all students in one stacked pass (`fit_side_by_side`): the same result up to rounding;
            faster where launching operators costs more than running them, on a GPU with a small set.
        on_epoch: called with the number of finished epochs of all students together.

    Raises:
        NcfmError: for pixels that are not finite, labels or sizes that do not fit, or a diverging training.
    """
    _check(LabelledImages(*train), test, num_classes, protocol)
    images, labels = to_if_it_fits(train[0], device), train[1].to(device)
    test_images, test_labels = to_if_it_fits(test.images, device), test.labels

    def fresh(run: int) -> torch.nn.Module:
        return create_network(
            network,
            channels=images.shape[1],
            num_classes=num_classes,
            image_size=images.shape[-1],
            seed=derive_seed(seed, "students", run),
        )

    together = protocol.num_runs if side_by_side else 1  # students that train at a time
    students = [on_device(fresh(run), device) for run in range(together)]  # later ones take over their memory
    forwards = [compiled(student, compile_networks and together == 1) for student in students]
    looks_at, epochs = look_epochs(protocol), protocol.recipe.epochs
    seen: list[list[float]] = []  # of each student, the accuracies at its looks

    def look() -> None:
        for looks, student, forward in zip(seen[-together:], students, forwards, strict=True):
            looks.append(accuracy(student, test_images, test_labels, statistics=statistics, forward=forward))

    def after_epoch(epoch: int) -> None:
        if epoch in looks_at:
            look()
        if on_epoch is not None:
            on_epoch((len(seen) - together) * epochs + epoch * together)

    began = time.perf_counter()
    for first in range(0, protocol.num_runs, together):
        runs = range(first, first + together)
        for student, run in zip(students, runs, strict=True):
            student.load_state_dict(fresh(run).state_dict())
            seen.append([])
        generators = [generator(seed, "students", run, "training") for run in runs]
        common: dict[str, Any] = {
            "recipe": protocol.recipe,
            "statistics": statistics,
            "precision": precision,
            "after_epoch": after_epoch,
        }
        if together == 1:
            fit(students[0], images, labels, generator=generators[0], forward=forwards[0], **common)
        else:
            fit_side_by_side(
                students, images, labels, generators=generators, compile_networks=compile_networks, **common
            )
        if epochs == 0:  # the untrained networks
            look()
    return EvaluationResult(
        tuple(looks[-1] for looks in seen),
        tuple(max(looks) for looks in seen),
        network,
        protocol.name,
        epochs,
        len(images),
        time.perf_counter() - began,
    )


def _check(train: LabelledImages, test: ImageSplit, num_classes: int, protocol: Protocol) -> None:
    images, labels = train
    if len(images) != len(labels) or len(images) == 0:
        raise NcfmError(
            f"Expected as many labels as images, at least one; got {len(images)} images, {len(labels)} labels."
        )
    if images.is_floating_point():
        check_finite(images, "The images to be judged")
    check_labels(labels, num_classes)
    if images.shape[1:] != test.images.shape[1:]:
        raise NcfmError(
            f"The set has images of shape {tuple(images.shape[1:])}, the test split of {tuple(test.images.shape[1:])}; "
            "judge it on the data it was made from."
        )
    check_at_least(protocol.num_runs, 1, "num_runs")


def look_epochs(protocol: Protocol) -> frozenset[int]:
    """Epochs after which the test split is looked at: ``looks`` of them at equal distances, the last one included."""
    epochs, looks = protocol.recipe.epochs, max(protocol.looks, 1)
    return frozenset(math.ceil(epochs * (i + 1) / looks) for i in range(looks))


def equal_steps(protocol: Protocol, num_images: int, reference_images: int) -> Protocol:
    """The protocol for a larger set (the full one): as many optimizer steps as on the reference, at least one epoch.

    Equal epochs would give the full set thousands of times the work; with equal steps every row of a table costs the
    same to train.
    """
    recipe = protocol.recipe
    steps = recipe.epochs * steps_per_epoch(reference_images, recipe.batch_size)
    epochs = max(math.ceil(steps / steps_per_epoch(num_images, recipe.batch_size)), 1)
    return replace(protocol, recipe=replace(recipe, epochs=epochs))
