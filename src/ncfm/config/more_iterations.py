"""More iterations for a run, interrupted or finished: what may be resumed so, and what it means for its schedule."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, NcfmError
from ncfm._utils.files import read_json
from ncfm._utils.progress import counted
from ncfm.config.schema import RunConfig
from ncfm.distillation.budget import Budget
from ncfm.distillation.checkpoint import Progress, has_checkpoint, saved_progress

RAISED_AT = "iterations_raised_at"  # in the description of a run: iterations after which it was given more of them


def with_more_iterations(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The stored description of a run, with the wanted number of iterations if that is a larger one.

    A run with a time budget has no number of iterations to raise; it is returned as it is.
    """
    described = dict(stored)
    try:
        distill, iterations = stored["config"]["distill"], wanted["config"]["distill"]["iterations"]
        if distill["seconds"] is not None or distill["iterations"] >= iterations:
            return described
    except (KeyError, TypeError):  # a description of another kind; the caller reports how it differs
        return described
    return described | {"config": stored["config"] | {"distill": distill | {"iterations": iterations}}}


def raised_at(folder: Path, description_file: str, config: RunConfig) -> list[int]:
    """Iterations after which the run in a folder has been given more of them, ascending; this time included.

    A run that has no checkpoint after an iteration is not among them: it follows its new schedule from the start.

    Raises:
        InputError: for a run that has stopped early, and would do so again at once.
    """
    try:
        stored = read_json(folder / description_file)
        before, planned = stored.get(RAISED_AT, []), stored["config"]["distill"]["iterations"]
    except (NcfmError, KeyError, TypeError, AttributeError):
        return []
    if planned >= config.distill.iterations or config.distill.seconds is not None or not has_checkpoint(folder):
        return list(before)
    progress = saved_progress(folder)
    if progress.iteration == 0:
        return list(before)
    if config.distill.has_stalled(progress):
        raise InputError(
            f"{folder}: the run stopped early after {counted(progress.iteration, 'iteration')} "
            "(distill.early_stop_patience) and "
            "would again; distil in another folder without it."
        )
    _explain_schedule(config.distill, planned, progress)
    return [*before, progress.iteration]


def suffix_of_variant(raised: list[int], config: RunConfig) -> str:
    """What the variant in results says of a run whose images depend on when its iterations were raised."""
    depends = raised and config.distill.lr_depends_on_length
    return f"{RAISED_AT}={'+'.join(map(str, raised))}" if depends else ""


def _explain_schedule(budget: Budget, planned: int, progress: Progress) -> None:
    """Warn that the learning rate changes, unless it does not depend on the number of iterations."""
    if not budget.lr_depends_on_length:
        return
    last = Progress(iteration=progress.iteration - 1)
    before = Budget(planned, None, budget.image_lr, budget.image_schedule).lr_at(last)
    warnings.warn(
        f"The run had {counted(planned, 'iteration')} and goes on after {progress.iteration} to {budget.iterations}. "
        "Its learning "
        f"rate goes from {before:.2g} to {budget.lr_at(progress):.2g}, where the {budget.image_schedule} schedule of "
        f"{counted(budget.iterations, 'iteration')} is at this point, so the result is not that of a run of "
        f"{budget.iterations} "
        "from the start; with distill.image_schedule=constant it would be.",
        stacklevel=2,
    )
