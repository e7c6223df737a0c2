"""Processes of their own that start at once: forked from a server that has imported what they need.

A new interpreter imports PyTorch and all that a command needs in seconds of processor time. A process of these has
threads, memory, signals, an environment and an end of its own as well. The server has imported and computed nothing, so
that it may fork; this process may not, after all that other tests did in it.
"""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

IMPORTED = (
    *("torch._dynamo", "torch.distributed.nn.functional", "sklearn.datasets", "matplotlib.backends.backend_agg"),
    *("ncfm.cli.main", "ncfm.workflows.distill", "ncfm.workflows.evaluate", "ncfm.workflows.report", "warm"),
)
SECONDS = 300  # that a process may take on a busy machine

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(list(IMPORTED))


class Ended(NamedTuple):
    """How a process ended, and what it printed."""

    code: int
    out: str
    err: str


class Running:
    """A process that runs a function; its streams go to files."""

    def __init__(self, work: Callable[..., object], *arguments: Any, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm")
        self._streams = [Path(self._folder.name) / name for name in ("out", "err")]
        given = (work, arguments, os.environ | environment, self._streams)
        self.process = _server.Process(target=_enter, args=given)
        self.process.start()

    def ended(self) -> Ended:
        """Wait for its end."""
        self.process.join(SECONDS)
        code = self.process.exitcode
        if code is None:
            self.process.kill()
            raise TimeoutError(f"a process has not ended in {SECONDS} s: {self._streams[1].read_text()[-2000:]}")
        printed = [path.read_text() if path.exists() else "" for path in self._streams]
        self._folder.cleanup()
        return Ended(code, *printed)


def run(work: Callable[..., object], *arguments: Any, **environment: str) -> Ended:
    """Call a function, which a module must have at its top, in a process."""
    return Running(work, *arguments, **environment).ended()


def run_ranks(count: int, work: Callable[..., object], *arguments: Any, **environment: str) -> Ended:
    """Call a function in processes that find in the environment what torchrun would set.

    As torchrun, end the other ranks when one fails, and return its code; what all have printed, in order of ranks.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
    shared |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)} | environment
    ranks = [Running(work, *arguments, **shared, RANK=str(i), LOCAL_RANK=str(i)) for i in range(count)]
    while any(rank.process.exitcode is None for rank in ranks) and not any(rank.process.exitcode for rank in ranks):
        time.sleep(0.01)
    failed = next((rank.process.exitcode for rank in ranks if rank.process.exitcode), 0)
    if failed:
        time.sleep(1)  # for the others to notice it themselves
        for rank in ranks:
            rank.process.terminate()
    ends = [rank.ended() for rank in ranks]
    return Ended(failed, "".join(end.out for end in ends), "".join(end.err for end in ends))


def ncfm(*arguments: object) -> None:
    """A command, as in a terminal."""
    from ncfm.cli.main import main

    sys.argv = ["ncfm", *map(str, arguments)]
    main()


def module(name: str, *arguments: object) -> None:
    """A program, as by ``python -m``."""
    import runpy

    sys.argv = [name, *map(str, arguments)]
    runpy.run_module(name, run_name="__main__", alter_sys=True)


def program(text: str, *arguments: object) -> None:
    """A program, as by ``python -c``."""
    sys.argv = ["-c", *map(str, arguments)]
    exec(compile(text, "<program>", "exec"), {"__name__": "__main__"})


def _enter(
    work: Callable[..., object], arguments: tuple[Any, ...], environment: dict[str, str], streams: list[Path]
) -> None:
    """Take over the environment, print to files, and work."""
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in zip((1, 2), streams, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    torch.set_num_threads(1)
    work(*arguments)
