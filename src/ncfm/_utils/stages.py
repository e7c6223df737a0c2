"""Named stages of a computation, and a clock that measures them for a profile. Without a clock they cost nothing."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

Reading = Sequence[float]
"""What a clock reads: numbers that only grow, such as seconds, CPU seconds or operations."""


class StageClock:
    """Differences of readings between the beginning and the end of every stage, summed by name.

    A stage within another counts for itself only.

    Args:
        read: returns the current reading; on a GPU it must wait for the device.
    """

    def __init__(self, read: Callable[[], Reading]) -> None:
        self.totals: dict[str, list[float]] = {}
        self._read, self._open = read, list[str]()
        self._last = list(read())

    def enter(self, name: str) -> None:
        """A stage begins."""
        self._count()
        self._open.append(name)

    def leave(self) -> None:
        """The stage that began last ends."""
        self._count()
        self._open.pop()

    def reset(self) -> None:
        """Forget what was measured."""
        self.totals.clear()
        self._last = list(self._read())

    def _count(self) -> None:
        """Add what has passed since the last reading to the innermost open stage."""
        now = list(self._read())
        if self._open:
            total = self.totals.setdefault(self._open[-1], [0.0] * len(now))
            for place, (a, b) in enumerate(zip(now, self._last, strict=True)):
                total[place] += a - b
        self._last = now


_clock: contextvars.ContextVar[StageClock | None] = contextvars.ContextVar("ncfm_stage_clock", default=None)


def stage(name: str) -> AbstractContextManager[None]:
    """A context that is the stage of this name. It does nothing without `measured_by` and inside compiled code."""
    if torch.compiler.is_compiling():  # first, since a compiler does not support context variables
        return nullcontext()
    clock = _clock.get()
    return nullcontext() if clock is None else _stage(clock, name)


@contextmanager
def _stage(clock: StageClock, name: str) -> Iterator[None]:
    clock.enter(name)
    try:
        yield
    finally:
        clock.leave()


@contextmanager
def measured_by(clock: StageClock) -> Iterator[None]:
    """Measure the stages inside this context by a clock."""
    token = _clock.set(clock)
    try:
        yield
    finally:
        _clock.reset(token)
