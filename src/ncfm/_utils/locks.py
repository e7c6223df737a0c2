"""Locks between processes: one process per run folder, one writer at a time per results file."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ncfm._utils.checks import InputError, RunError

LOCK_FILE = ".lock"
OWNER_FILE = ".lock.owner"  # a file of its own: on Windows no other process can read a locked one
RETRY_SECONDS = 0.2  # a holder that is just leaving removes the lock file, and a single attempt can meet that moment
WITHOUT_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK}


@contextlib.contextmanager
def sole_user(folder: Path | None) -> Iterator[None]:
    """Lock a folder against other processes that call this; the folder is created if it is missing.

    The system releases the lock when its process ends, even if it is killed. A file system without locks is not locked.

    Raises:
        NcfmError: if another process has the lock; the message names its process id, machine, start and command.
        RunError: if the folder cannot be written.
    """
    if folder is None:
        yield
        return
    new = not folder.exists()
    try:
        with contextlib.ExitStack() as held:
            owner = folder / OWNER_FILE
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(_lock(folder / LOCK_FILE, timeout=RETRY_SECONDS))
                held.callback(_remove, owner)
                owner.write_text(_this_process(), encoding="utf-8", errors="backslashreplace")
            except Timeout as error:
                raise InputError(
                    f"{folder} is in use by {_read_owner(owner)}; wait for it, or choose another --out."
                ) from error
            except OSError as error:
                raise RunError(f"Could not write into {folder}: {error}. Choose another with --out.") from error
            yield
    finally:
        if new:
            with contextlib.suppress(OSError):  # the folder is not empty: it has results
                folder.rmdir()


@contextlib.contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Wait until no other process is in this block for the same file, which is read, changed and written back.

    The folder of the file is created. Where it cannot be written there is no lock: the caller's own write then fails
    and reports the reason.
    """
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(_lock(path.with_name(f".{path.name}.lock"), timeout=-1))
        yield


@contextlib.contextmanager
def _lock(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold a lock file, and remove it at the end.

    Raises:
        Timeout: if another process holds it for ``timeout`` seconds (-1: wait without limit).
        OSError: if the file cannot be created.
    """
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(FileLock(path, timeout=timeout, fallback_to_soft=False))
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise
        # Removed before the release: a process that has opened it finds that it has no name, and tries again.
        held.callback(_remove, path)
        yield


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):  # Windows refuses to remove an open file; filelock then does it on release
        path.unlink(missing_ok=True)


def _this_process() -> str:
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return f"process {os.getpid()} on {socket.gethostname()} since {since} ({' '.join(sys.argv)[:200]})\n"


def _read_owner(path: Path) -> str:
    """The owner as `_this_process` described it, on one line."""
    with contextlib.suppress(OSError):
        return " ".join(path.read_text(encoding="utf-8", errors="replace")[:500].split()) or "another process"
    return "another process"
