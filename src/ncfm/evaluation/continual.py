"""Class-incremental learning from a memory of a few images per class.

Classes arrive in steps. After its step only the memory of a class remains: distilled images, or selected real ones.
After each step a new network is trained on the memory of all classes seen so far and tested on the test images of these
classes. The better the memory, the slower the accuracy decreases.

Reference:
    Prabhu, Torr and Dokania, "GDumb: A Simple Approach that Questions Our Progress in Continual Learning", ECCV 2020
    (training from scratch on the memory); with distilled sets: Zhao and Bilen, "Dataset Condensation with
    Distribution Matching", WACV 2023 (5 and 10 steps).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm._utils.seeding import generator
from ncfm._utils.types import Interval, LabelledImages
from ncfm.data.image_set import ImageSplit
from ncfm.evaluation.result import EvaluationResult
from ncfm.evaluation.statistics import accuracy_interval

TrainAndTest = Callable[[LabelledImages, ImageSplit, int, int], EvaluationResult]
"""Trains and tests one student: (memory, test split, number of classes, index of the run) -> its result."""


@dataclass(frozen=True)
class ContinualResult:
    """Accuracy of one kind of memory after each step."""

    classes_seen: tuple[int, ...]  # after each step
    accuracies: tuple[tuple[float, ...], ...]  # (steps, runs), on the test images of the classes seen so far

    @property
    def curve(self) -> tuple[Interval, ...]:
        """Mean, standard deviation and 95 % interval over runs after each step."""
        return tuple(accuracy_interval(step) for step in self.accuracies)

    @property
    def average(self) -> Interval:
        """Mean over the steps, with its interval over runs."""
        runs = len(self.accuracies[0])
        return accuracy_interval([sum(step[i] for step in self.accuracies) / len(self.accuracies) for i in range(runs)])


def class_order(num_classes: int, run: int, seed: int) -> Tensor:
    """The order (C,) in which the classes arrive in a run, the same for every memory."""
    return torch.randperm(num_classes, generator=generator(seed, "class order", run))


def step_sizes(num_classes: int, steps: int) -> list[int]:
    """Number of classes seen after each step, for steps as equal as possible, the larger ones first.

    >>> step_sizes(10, 5), step_sizes(10, 4)
    ([2, 4, 6, 8, 10], [3, 6, 8, 10])

    Raises:
        NcfmError: for more steps than classes, or none.
    """
    if not 1 <= steps <= num_classes:
        raise InputError(f"Expected 1 to {num_classes} steps for {counted(num_classes, 'class')}, got {steps}.")
    each, more = divmod(num_classes, steps)
    return [each * (i + 1) + min(i + 1, more) for i in range(steps)]


def restrict(images: Tensor, labels: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
    """The images of some classes, renumbered in the order of ``classes``."""
    renumber = torch.full((int(max(labels.max(), classes.max())) + 1,), -1)
    renumber[classes] = torch.arange(len(classes))
    new = renumber[labels.cpu()]
    kept = new >= 0
    return images[kept.to(images.device)], new[kept]


def learn_continually(
    memory: LabelledImages,
    test: ImageSplit,
    *,
    num_classes: int,
    steps: int,
    runs: int,
    seed: int,
    train_and_test: TrainAndTest,
) -> ContinualResult:
    """Accuracy after each step of learning from a memory that grows class by class.

    A step with only one class seen so far has accuracy 1.

    Args:
        memory: images in [0, 1] of all classes with their labels; those of a class are used from its step on.
        test: the real test split.
        num_classes: C.
        steps: number of steps.
        runs: repetitions, each with its own class order and student.
        seed: of the class orders.
        train_and_test: trains and tests a student.

    Raises:
        NcfmError: for more steps than classes, or a memory without images of a class.
    """
    lacking = sorted(set(range(num_classes)) - set(memory.labels.tolist()))
    if lacking:
        raise InputError(f"The memory has no images of classes {lacking[:10]}; every class needs at least one.")
    seen = step_sizes(num_classes, steps)
    accuracies: list[tuple[float, ...]] = []
    for count in seen:
        of_step = []
        for run in range(runs):
            classes = class_order(num_classes, run, seed)[:count]
            if count == 1:
                of_step.append(1.0)
                continue
            train = LabelledImages(*restrict(memory.images, memory.labels, classes))
            tested = ImageSplit.of(*restrict(test.images, test.labels, classes), count)
            of_step.append(train_and_test(train, tested, count, run).accuracies[-1])
        accuracies.append(tuple(of_step))
    return ContinualResult(tuple(seen), tuple(accuracies))
