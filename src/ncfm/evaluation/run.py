"""Training fresh students on a set and measuring them on the real test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from ncfm._checks import NcfmError, check_at_least, check_finite, check_labels
from ncfm._device import compiled
from ncfm._seeding import derive_seed, generator
from ncfm._typing import Interval, LabelledImages, Statistics
from ncfm.data.images import ImageSplit
from ncfm.evaluation.protocol import Protocol
from ncfm.networks.registry import create_network
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
    on_epoch: Callable[[int, int], None] | None = None,
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
        on_epoch: called with (student, finished epochs).

    Raises:
        NcfmError: for pixels that are not finite, labels or sizes that do not fit, or a diverging training.
    """
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

    def make(run: int) -> torch.nn.Module:
        return create_network(
            network,
            channels=images.shape[1],
            num_classes=num_classes,
            image_size=images.shape[-1],
            seed=derive_seed(seed, "students", run),
        )

    student = make(0).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    forward = compiled(student, compile_networks)
    looks_at = look_epochs(protocol)
    images, labels = images.to(device), labels.to(device)
    test_images, test_labels = test.images.to(device), test.labels
    began = time.perf_counter()
    last, best = [], []
    for run in range(protocol.num_runs):
        student.load_state_dict(make(run).state_dict())
        looks: list[float] = []

        def after_epoch(epoch: int, run: int = run, looks: list[float] = looks) -> None:
            if epoch in looks_at:
                looks.append(accuracy(student, test_images, test_labels, statistics=statistics, forward=forward))
            if on_epoch is not None:
                on_epoch(run, epoch)

        fit(
            student,
            images,
            labels,
            recipe=protocol.recipe,
            statistics=statistics,
            generator=generator(seed, "students", run, "training"),
            forward=forward,
            precision=precision,
            after_epoch=after_epoch,
        )
        if not looks:  # zero epochs: the untrained network
            looks.append(accuracy(student, test_images, test_labels, statistics=statistics, forward=forward))
        last.append(looks[-1])
        best.append(max(looks))
    return EvaluationResult(
        tuple(last),
        tuple(best),
        network,
        protocol.name,
        protocol.recipe.epochs,
        len(images),
        time.perf_counter() - began,
    )


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
