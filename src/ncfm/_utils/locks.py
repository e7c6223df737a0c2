"""One process at a time: on a run folder, on a results file."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from ncfm._utils.checks import NcfmError, NcfmFailure

HAS_LOCKS = True
try:
    import fcntl
except ImportError:  # Windows: nothing is locked
    HAS_LOCKS = False

LOCK_FILE = ".lock"


@contextlib.contextmanager
def sole_user(folder: Path | None) -> Iterator[None]:
    """Hold a folder, made if it is missing, against other processes that ask the same.

    The system lets go when the holder ends, however it ends: no lock outlives its process. File systems without locks
    are not held.

    Raises:
        NcfmError: if another process holds it, with its number, machine and command; NcfmFailure if nothing can be
            written there.
    """
    if folder is None:
        yield
        return
    new = not folder.exists()
    try:
        with contextlib.ExitStack() as held:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                held.enter_context(_lock(folder / LOCK_FILE, wait=False))
            except OSError as error:
                raise NcfmFailure(f"Could not write into {folder}: {error}. Choose another with --out.") from error
            yield
    finally:
        if new:
            with contextlib.suppress(OSError):
                folder.rmdir()  # if nothing came of it


@contextlib.contextmanager
def taking_turns(path: Path) -> Iterator[None]:
    """Wait until no other process changes a file that is read, changed and written back; its folder is made."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(OSError):  # who writes will tell what is wrong
            path.parent.mkdir(parents=True, exist_ok=True)
            held.enter_context(_lock(path.with_name(f".{path.name}.lock"), wait=True))
        yield


@contextlib.contextmanager
def _lock(path: Path, *, wait: bool) -> Iterator[None]:
    """Hold a lock file, which is removed afterwards.

    Raises:
        NcfmError: if it is another's and we do not wait; OSError if it cannot be made.
    """
    if not HAS_LOCKS:
        yield
        return
    file = _locked(path, wait=wait)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        file.close()


def _locked(path: Path, *, wait: bool) -> IO[str]:
    """The open file of a lock that is ours."""
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            file.seek(0)
            owner = " ".join(file.read(500).split()) or "another process"
            file.close()
            raise NcfmError(f"{path.parent} is in use by {owner}; wait for it, or choose another --out.") from error
        except OSError:
            return file  # a file system without locks
        if _is_still(file, path):
            break
        file.close()  # its holder has removed it since it was opened: what is there now is another
    file.truncate(0)
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    file.write(f"process {os.getpid()} on {socket.gethostname()} since {since} ({' '.join(sys.argv)[:200]})\n")
    file.flush()
    return file


def _is_still(file: IO[str], path: Path) -> bool:
    """Whether a path is the open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
