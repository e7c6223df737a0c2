"""Every signal that asks a program to stop ends it as Ctrl-C does, so that no temporary file is left."""

import os
import signal
import time
from pathlib import Path

import pytest

from ncfm._utils.files import write_atomically, write_folder
from ncfm._utils.signals import STOPPING, handled, interrupt
from ncfm.distillation.interruption import stop_requests


def interrupted_by(number):
    """A writer of a file or folder that is stopped in the middle."""

    def write(path):
        (path / "part" if path.is_dir() else path).write_text("half of")
        os.kill(os.getpid(), number)
        time.sleep(5)  # the handler comes first

    return write


@pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
@pytest.mark.parametrize("writer", [write_atomically, write_folder])
def test_no_temporary_file_is_left(tmp_path, number, writer):
    with handled(interrupt), pytest.raises(KeyboardInterrupt):
        writer(tmp_path / "result", interrupted_by(number))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", STOPPING, ids=lambda number: number.name)
def test_a_run_is_asked_to_stop_once_and_then_stopped(number):
    with stop_requests() as requested:
        os.kill(os.getpid(), number)
        assert requested.wait(5)
        with pytest.raises(KeyboardInterrupt):
            interrupted_by(number)(Path(os.devnull))


def test_handlers_are_put_back():
    before = [signal.getsignal(number) for number in STOPPING]
    with handled(interrupt):
        assert signal.getsignal(signal.SIGUSR1) is interrupt
    assert [signal.getsignal(number) for number in STOPPING] == before


def test_a_terminal_that_closes_is_ignored_if_the_caller_said_so():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with handled(interrupt):
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
