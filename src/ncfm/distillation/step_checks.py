"""Which objectives, sizes, parts, ranks and compilations go together in an iteration of distribution matching."""

from __future__ import annotations

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm.distillation.objective import Objective


def check_together(objective: Objective, num_parts: int, compute: Compute, *, is_equal: bool) -> None:
    """Check that an objective and the sizes of the classes allow the parts, ranks and compilation of a step.

    Args:
        objective: what is matched.
        num_parts: parts of the classes, each a step of its own.
        compute: ranks and compilation.
        is_equal: whether all classes have as many images.

    Raises:
        InputError: if they do not.
    """
    if not is_equal and (num_parts > 1 or compute.compile_step):
        raise InputError(
            "distill.classes_per_step and machine.compile=step need equal classes; leave them out, or give one "
            "number as --ipc."
        )
    if num_parts > 1 and (compute.compile_step or not compute.ranks.is_single or objective.state()):
        raise InputError(
            "distill.classes_per_step is for one process, for objectives without state and without "
            "machine.compile=step; leave it out to let every step see all classes."
        )
    if objective.couples_classes and (num_parts > 1 or not compute.ranks.is_single):
        raise InputError(
            "This objective compares each class with the others; run it in one process, without "
            "distill.classes_per_step."
        )
