"""Stopping a run between two iterations: by Ctrl-C, by another signal, or by a callback."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from types import FrameType

from ncfm._utils.checks import NcfmError
from ncfm._utils.signals import handled, interrupt


class Interrupted(NcfmError):
    """The run was asked to stop. Its checkpoint is saved if the run has a folder."""

    exit_code = 130  # as shells report a process that Ctrl-C ended


@contextlib.contextmanager
def stop_requests(requested: threading.Event | None = None) -> Iterator[threading.Event]:
    """An event that Ctrl-C and the other signals to stop set, so that an iteration is always finished.

    A second signal raises KeyboardInterrupt at once. Outside the main thread no signal is handled.

    Args:
        requested: the event; a new one if None.
    """
    requested = threading.Event() if requested is None else requested

    def request(number: int, frame: FrameType | None) -> None:
        if requested.is_set():
            interrupt(number, frame)
        requested.set()

    with handled(request):
        yield requested
