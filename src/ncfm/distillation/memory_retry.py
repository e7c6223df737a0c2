"""Running an iteration again in smaller passes after it ran out of memory."""

from __future__ import annotations

import warnings

import torch

from ncfm._utils.checks import RunError
from ncfm._utils.device import is_out_of_memory
from ncfm.distillation.nonfinite_guard import Guard
from ncfm.distillation.step_protocol import Record, Step


def run_within_memory(step: Step, guard: Guard, iteration: int) -> Record:
    """Run an iteration; if memory does not suffice, run it again in smaller passes with the same random draws.

    Only updates that the adversary made before memory ran out (with more than one ascent) are not undone.

    Args:
        step: draws the random numbers.
        guard: runs it.
        iteration: its number, for messages.

    Raises:
        RunError: if not even single images fit.
    """
    streams = step.streams.state()
    while True:
        try:
            return guard()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            _use_smaller_passes(step, error)
        # Outside the except clause: the error's traceback keeps the failed pass alive.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        step.streams.load_state(streams)
        warnings.warn(
            f"Out of memory in iteration {iteration}; continuing with passes of {step.images_per_pass} images.",
            stacklevel=2,
        )


def _use_smaller_passes(step: Step, error: BaseException) -> None:
    """Halve the passes, or raise RunError if that is not possible."""
    if not step.can_be_repeated:
        raise RunError(
            "Not enough memory for an iteration, and ranks that communicate several times in it cannot run "
            "it again; start with smaller passes (--set machine.gradient_chunk_size=N), or with more ranks."
        ) from error
    if not step.halve_chunks():
        raise RunError(
            "Not enough memory for an iteration, not even in passes of one image; lower ipc, "
            "distill.real_batch_per_class or frequencies.number."
        ) from error
