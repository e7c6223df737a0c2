"""Training fresh students on a set and measuring them on the real test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ncfm._utils.accelerator import autocast
from ncfm._utils.checks import InputError, check_at_least, check_finite, check_labels
from ncfm._utils.compute import Compute
from ncfm._utils.device import compiled
from ncfm._utils.distributed import Ranks
from ncfm._utils.progress import counted
from ncfm._utils.seeding import derive_seed, generator
from ncfm._utils.tensors import check_dense
from ncfm._utils.types import Interval, LabelledImages, Statistics
from ncfm.data.image_set import ImageSplit, to_if_it_fits
from ncfm.data.one_class import check_one_class
from ncfm.data.pixels import MOST_NORMALISED
from ncfm.evaluation.classification import confusion_matrix, expected_calibration_error, per_class_accuracy
from ncfm.evaluation.protocols import MOST_RUNS, Protocol
from ncfm.evaluation.statistics import accuracy_interval, interval
from ncfm.evaluation.student_cache import Student, StudentCache
from ncfm.networks.registry import create_network, on_device
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets
from ncfm.training.checkpoint import TrainingCheckpoint
from ncfm.training.fit import fit, predict, steps_per_epoch
from ncfm.training.fit_vmapped import fit_side_by_side
from ncfm.training.stack import fitting_stack


@dataclass(frozen=True)
class EvaluationResult:
    """The results of the students of one set; accuracies are fractions in [0, 1]."""

    students: tuple[Student, ...]
    network: str
    protocol: str
    epochs: int
    num_images: int  # decoded training images of a student
    num_stored: int | None = None  # images as an external set stores them; None: the set knows
    storage: float | None = None  # of an external set, in images per class, with its soft labels

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Accuracy of each student after its last epoch: the result."""
        return tuple(student.accuracies[-1] for student in self.students)

    @property
    def best_accuracies(self) -> tuple[float, ...]:
        """Best accuracy of each student over its test evaluations, only for comparison with papers."""
        return tuple(max(student.accuracies) for student in self.students)

    @property
    def interval(self) -> Interval:
        """Mean, standard deviation and 95 % interval of the last-epoch accuracies, see `accuracy_interval`."""
        return accuracy_interval(self.accuracies)

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
        """Mean of the best accuracies over test evaluations: optimistic, since it selects on the test split."""
        return math.fsum(self.best_accuracies) / len(self.students)

    @property
    def confusion(self) -> Tensor:
        """Test images by class (row) and prediction (column), summed over students, (C, C) int64."""
        return torch.tensor([student.confusion for student in self.students]).sum(0)

    @property
    def per_class(self) -> tuple[float, ...]:
        """Accuracy on the test images of each class, mean over students; NaN for a class without any."""
        return tuple(per_class_accuracy(self.confusion).tolist())

    @property
    def calibration_error(self) -> Interval:
        """Expected calibration error on the test split, over students."""
        return interval([student.calibration_error for student in self.students])

    @property
    def seconds(self) -> float:
        """Training and testing the students took, also of cached ones."""
        return math.fsum(student.seconds for student in self.students)


def evaluate(
    train: LabelledImages,
    test: ImageSplit,
    *,
    num_classes: int,
    statistics: Statistics,
    protocol: Protocol,
    network: str = "convnet",
    seed: int = 0,
    soft: StudentTargets | None = None,
    compute: Compute | None = None,
    cache: StudentCache | None = None,
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
        soft: soft labels of the images to learn from, or teachers who are asked of every batch as it is shown.
        compute: device, precision, compilation; whether all students are trained in one stacked pass
            (`fit_side_by_side`: the same result up to rounding, faster on a GPU with a small set); and the ranks that
            share the students, all of which get all results.
        cache: of student results; cached students are not trained again, and an interrupted training resumes.
        on_epoch: called with the number of finished epochs of all students together, as far as this rank knows.

    Raises:
        NcfmError: for pixels that are not finite, labels or sizes that do not fit, or a diverging training.
    """
    train, compute = LabelledImages(*train), compute or Compute()
    ranks = compute.ranks
    _check(train, test, num_classes, protocol, soft)
    found = {} if cache is None else {run: cache.get(run) for run in range(protocol.num_runs)}
    students = _exchange({run: student for run, student in found.items() if student is not None}, ranks)
    missing = [run for run in range(protocol.num_runs) if run not in students]
    missing = [missing[i] for i in ranks.mine(len(missing))]
    done = protocol.recipe.epochs * len(students)
    room = _Classroom(train, test, num_classes, statistics, protocol, network, seed, soft, compute)
    together = room.fitting(len(missing)) if compute.side_by_side else 1  # students that train at a time
    for first in range(0, len(missing), together):
        runs = missing[first : first + together]
        before = done + first * protocol.recipe.epochs

        def after_epoch(epoch: int, before: int = before, runs: Sequence[int] = runs) -> None:
            if on_epoch is not None:
                on_epoch(before + epoch * len(runs))

        kept = None if cache is None else cache.checkpoint(runs)
        for run, student in zip(runs, room.train(runs, after_epoch, kept), strict=True):
            students[run] = student if cache is None else cache.put(run, student)
    students = _exchange(students, ranks)
    return EvaluationResult(
        tuple(students[run] for run in range(protocol.num_runs)),
        network,
        protocol.name,
        protocol.recipe.epochs,
        len(train.images),
    )


def _exchange(own: dict[int, Student], ranks: Ranks) -> dict[int, Student]:
    """What the ranks know of students, by their number, put together."""
    if ranks.is_single:
        return own
    known: dict[int, Student] = {}
    for found in ranks.gather_objects({str(run): asdict(student) for run, student in own.items()}):
        known |= {int(run): Student.from_json(student) for run, student in found.items()}
    return known


class _Classroom:
    """Where students are trained: the sets on the device, and networks whose memory later ones take over."""

    def __init__(
        self,
        train: LabelledImages,
        test: ImageSplit,
        num_classes: int,
        statistics: Statistics,
        protocol: Protocol,
        network: str,
        seed: int,
        soft: StudentTargets | None,
        compute: Compute,
    ) -> None:
        device = compute.device
        self.images, self.labels = to_if_it_fits(train.images, device), train.labels.to(device)
        self.test_images, self.test_labels = to_if_it_fits(test.images, device), test.labels
        self.num_classes, self.statistics, self.protocol = num_classes, statistics, protocol
        self.network, self.seed, self.soft = network, seed, soft
        self.compute = compute
        self.modules: list[nn.Module] = []
        self.forwards: list[Callable[..., Any]] = []

    def fitting(self, count: int) -> int:
        """How many of ``count`` students fit into memory side by side, at least 1."""
        if count < 2:
            return 1
        device = self.compute.device
        image = torch.zeros(1, *self.images.shape[1:], device=device)
        module = on_device(self.fresh(0), device).eval()
        with autocast(device, self.compute.precision):
            fitting = fitting_stack(module, image, min(self.protocol.recipe.batch_size, len(self.images)))
        return count if fitting is None else min(count, fitting)

    def fresh(self, run: int) -> nn.Module:
        """A network with the initial weights of student number ``run``."""
        return create_network(
            self.network,
            channels=self.images.shape[1],
            num_classes=self.num_classes,
            image_size=self.images.shape[-1],
            seed=derive_seed(self.seed, "students", run),
        )

    def train(
        self, runs: Sequence[int], on_epoch: Callable[[int], None], kept: TrainingCheckpoint | None = None
    ) -> list[Student]:
        """Train some students, together if they are more than one, from where their training was cut."""
        began = time.perf_counter()
        alone = len(runs) == 1
        for run in runs[len(self.modules) :]:
            self.modules.append(on_device(self.fresh(run), self.compute.device))
            self.forwards.append(compiled(self.modules[-1], self.compute.compile_networks and alone))
        modules, forwards = self.modules[: len(runs)], self.forwards[: len(runs)]
        for module, run in zip(modules, runs, strict=True):
            module.load_state_dict(self.fresh(run).state_dict())
        seen: list[list[Look]] = [[] for _ in runs]

        def look() -> None:
            for looks, module, forward in zip(seen, modules, forwards, strict=True):
                looks.append(self.look(module, forward))

        def after_epoch(epoch: int) -> None:
            if looks_after(self.protocol, epoch):
                look()
                if kept is not None:
                    kept.notes += [looks[-1].accuracy for looks in seen]
            on_epoch(epoch)

        common: dict[str, Any] = {
            "recipe": self.protocol.recipe,
            "statistics": self.statistics,
            "precision": self.compute.precision,
            "soft": self.soft,
            "after_epoch": after_epoch,
            "checkpoint": kept,
        }
        generators = [generator(self.seed, "students", run, "training") for run in runs]
        if alone:
            fit(modules[0], self.images, self.labels, generator=generators[0], forward=forwards[0], **common)
        else:
            common["compile_networks"] = self.compute.compile_networks
            fit_side_by_side(modules, self.images, self.labels, generators=generators, **common)
        if self.protocol.recipe.epochs == 0:  # the untrained networks
            after_epoch(0)
        if not seen[0]:  # cut after its last epoch
            look()
        each = (time.perf_counter() - began + (0.0 if kept is None else kept.earlier)) / len(runs)
        return [
            Student(
                tuple(look.accuracy for look in looks) if kept is None else tuple(kept.notes[i :: len(runs)]),
                looks[-1].confusion,
                looks[-1].calibration_error,
                each,
                {},
            )
            for i, looks in enumerate(seen)
        ]

    def look(self, module: nn.Module, forward: Callable[..., Any]) -> Look:
        """What a student says of the test split."""
        return measure(predict(module, self.test_images, statistics=self.statistics, forward=forward), self.test_labels)


class Look(NamedTuple):
    """A look at the test split."""

    accuracy: float
    confusion: tuple[tuple[int, ...], ...]  # (C, C)
    calibration_error: float


def measure(logits: Tensor, labels: Tensor) -> Look:
    """What logits (n, C) of images with labels (n,) are worth."""
    labels = labels.cpu()
    correct = float((logits.argmax(1) == labels).double().mean())
    confusion = tuple(tuple(row) for row in confusion_matrix(logits, labels).tolist())
    return Look(correct, confusion, expected_calibration_error(logits, labels))


def _check(
    train: LabelledImages, test: ImageSplit, num_classes: int, protocol: Protocol, soft: StudentTargets | None
) -> None:
    images, labels = train
    check_dense(images, "The images to evaluate")
    check_dense(labels, "Their labels")
    if len(images) != len(labels) or len(images) == 0:
        raise InputError(
            f"Expected as many labels as images, at least one; got {counted(len(images), 'image')}, "
            f"{counted(len(labels), 'label')}."
        )
    if images.is_floating_point():
        check_finite(images, "The images to evaluate")
        highest = float(images.detach().max())
        if highest > MOST_NORMALISED:
            raise InputError(f"Expected images in [0, 1], got floats up to {highest:.4g}; divide by 255.")
    check_one_class(labels, "The set")
    check_labels(labels, num_classes)
    if images.shape[1:] != test.images.shape[1:]:
        raise InputError(
            f"The set has images of shape {tuple(images.shape[1:])}, the test split of {tuple(test.images.shape[1:])}; "
            "evaluate it on the data that it was made from."
        )
    check_at_least(protocol.num_runs, 1, "num_runs")
    if protocol.num_runs > MOST_RUNS:
        raise InputError(f"Expected at most {MOST_RUNS:,} students, got {protocol.num_runs:,}; choose fewer (--runs).")
    if isinstance(soft, SoftTargets):
        soft.checked(len(images), num_classes)
    elif soft is not None:
        soft.checked()


def looks_after(protocol: Protocol, epoch: int) -> bool:
    """Whether the test split is looked at after an epoch: ``looks`` times at equal distances, also after the last one.

    Look i of L is after the first epoch that is at least i E / L of all E.
    """
    epochs, looks = max(protocol.recipe.epochs, 1), max(protocol.looks, 1)
    return epoch * looks // epochs > (epoch - 1) * looks // epochs


def equal_steps(protocol: Protocol, num_images: int, reference_images: int) -> Protocol:
    """The protocol for a larger set (the full one): as many optimizer steps as on the reference, at least one epoch.

    Equal epochs would give the full set thousands of times the work; with equal steps every row of a table costs the
    same to train.
    """
    recipe = protocol.recipe
    steps = recipe.epochs * steps_per_epoch(reference_images, recipe)
    epochs = max(math.ceil(steps / steps_per_epoch(num_images, recipe)), 1)
    return replace(protocol, recipe=replace(recipe, epochs=epochs))
