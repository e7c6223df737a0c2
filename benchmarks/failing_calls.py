"""Calls of the system that fail on purpose: opening, writing, syncing, renaming and changing the mode of a file.

Libraries write files in their own way, in C++ and Rust. So the calls are replaced below all of them, by a library that
is compiled here and preloaded.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from ncfm._utils.device import cpp_compiler

KINDS = ("open", "write", "fsync", "rename", "chmod")
SOURCE = Path(__file__).with_suffix(".cpp")
PRELOADED = "NCFM_FAILING_CALLS"  # the library, in the environment of the process that has it


def preload() -> bool:
    """Start this command again with the library preloaded; whether it is there now. It takes a compiler and Linux."""
    if PRELOADED in os.environ:
        return True
    compiler = cpp_compiler()
    if compiler is None or sys.platform != "linux":
        return False
    library = Path(tempfile.mkdtemp(prefix="ncfm-faults-")) / "failing_calls.so"
    command = [*compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        return False
    os.environ |= {PRELOADED: str(library), "LD_PRELOAD": str(library)}
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else "benchmarks.faults"
    return os.execv(sys.executable, [sys.executable, "-m", module, *sys.argv[1:]])


def fail_from(kind: str, after: int, times: int, folder: Path) -> None:
    """Let so many calls of a kind below a folder fail once others were made; in a forked process."""
    library().fail_call(KINDS.index(kind), ctypes.c_long(after), ctypes.c_long(times), str(folder).encode())


def count_below(folder: Path) -> None:
    """Count the calls below a folder from now on; none fails."""
    library().fail_call(-1, ctypes.c_long(0), ctypes.c_long(0), str(folder).encode())


def calls_made(kind: str) -> int:
    """The calls of a kind since `fail_from` or `count_below`."""
    return int(library().calls_made(KINDS.index(kind)))


def library() -> ctypes.CDLL:
    """The preloaded library."""
    found = ctypes.CDLL(os.environ[PRELOADED])
    found.calls_made.restype = ctypes.c_long
    return found
