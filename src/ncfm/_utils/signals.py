"""Signals by which a person, a batch system or a closed terminal asks a program to stop."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # Slurm, PBS and SGE announce an end by one of the last
STOPPING = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))  # Windows has two of them


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], object]) -> Iterator[None]:
    """Call ``handler`` on these signals. By default most would end the process and leave its temporary files.

    A terminal that closes is ignored if the program was started to ignore it (nohup). Outside the main thread, which
    alone may handle signals, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in STOPPING}
    chosen = [number for number in STOPPING if not (number.name == "SIGHUP" and before[number] is signal.SIG_IGN)]
    for number in chosen:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number in chosen:
            signal.signal(number, before[number] or signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> None:
    """End the program as Ctrl-C does, so that every ``finally`` is played."""
    raise KeyboardInterrupt
