"""Training fresh students on a set and measuring them on the real test split."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from ncfm._utils.compute import Compute
from ncfm._utils.distributed import Ranks
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.data.image_set import ImageSplit
from ncfm.evaluation.classroom import Classroom
from ncfm.evaluation.protocols import Protocol
from ncfm.evaluation.result import EvaluationResult
from ncfm.evaluation.student_cache import Student, StudentCache
from ncfm.evaluation.student_checks import check_task
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.training.fit import steps_per_epoch


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
    check_task(train, test, num_classes, protocol, soft)
    found = {} if cache is None else {run: cache.get(run) for run in range(protocol.num_runs)}
    students = _exchange({run: student for run, student in found.items() if student is not None}, ranks)
    missing = [run for run in range(protocol.num_runs) if run not in students]
    missing = [missing[i] for i in ranks.mine(len(missing))]
    done = protocol.recipe.epochs * len(students)
    room = Classroom(train, test, num_classes, statistics, protocol, network, seed, soft, compute)
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


def equal_steps(protocol: Protocol, num_images: int, reference_images: int) -> Protocol:
    """The protocol for a larger set (the full one): as many optimizer steps as on the reference, at least one epoch.

    Equal epochs would give the full set thousands of times the work; with equal steps every row of a table costs the
    same to train.
    """
    recipe = protocol.recipe
    steps = recipe.epochs * steps_per_epoch(reference_images, recipe)
    epochs = max(math.ceil(steps / steps_per_epoch(num_images, recipe)), 1)
    return replace(protocol, recipe=replace(recipe, epochs=epochs))
