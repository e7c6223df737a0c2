"""What students can be trained and tested on."""

from __future__ import annotations

from ncfm._utils.checks import InputError, check_at_least, check_finite, check_labels
from ncfm._utils.progress import counted
from ncfm._utils.tensors import check_dense
from ncfm._utils.types import LabelledImages
from ncfm.data.image_set import ImageSplit
from ncfm.data.one_class import check_one_class
from ncfm.data.pixels import MOST_NORMALISED
from ncfm.evaluation.protocols import MOST_RUNS, Protocol
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets


def check_task(
    train: LabelledImages, test: ImageSplit, num_classes: int, protocol: Protocol, soft: StudentTargets | None
) -> None:
    """Check what students are to be trained and tested on.

    Raises:
        InputError: for pixels that are not finite; labels, sizes or soft labels that do not fit; numbers of students.
    """
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
