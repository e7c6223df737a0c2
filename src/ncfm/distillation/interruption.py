"""Stopping a run between two iterations: by Ctrl-C, by SIGTERM, or by a callback."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from ncfm._utils.checks import NcfmError


class Interrupted(NcfmError):
    """The run was asked to stop. Its checkpoint is saved if the run has a folder."""

    exit_code = 130  # as shells report a process that Ctrl-C ended


@contextlib.contextmanager
def stop_requests(requested: threading.Event | None = None) -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set, so that an iteration is always finished.

    A second signal raises KeyboardInterrupt at once. Outside the main thread no signal is handled.

    Args:
        requested: the event; a new one if None.
    """
    requested = threading.Event() if requested is None else requested
    if threading.current_thread() is not threading.main_thread():
        yield requested  # only the main thread may handle signals
        return

    def request(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            raise KeyboardInterrupt
        requested.set()

    before = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield requested
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
