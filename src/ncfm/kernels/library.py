"""Compilation and loading of the loops in `cpu/`."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import subprocess
import sys
from pathlib import Path

from ncfm._utils.checks import RunError
from ncfm._utils.device import cpp_compiler
from ncfm._utils.files import cache_dir, write_atomically

SOURCES = Path(__file__).with_name("cpu")  # loops.cpp and its headers
# -O3 contracts a * b + c by itself; flags that reorder sums (-ffast-math) are not allowed. Predictive commoning keeps
# pixels for the next step of a loop in registers that the sums need.
FLAGS = (
    "-std=c++17",
    "-O3",
    "-march=native",
    "-fno-math-errno",
    "-fno-predictive-commoning",
    "-fopenmp",
    "-fPIC",
    "-shared",
    "-w",
)
SECONDS_TO_BUILD = 300


@functools.cache
def load() -> ctypes.CDLL | None:
    """The compiled loops, built on first use and cached; None if that is not possible.

    The reason is printed once. Networks then use PyTorch's operators, which are slower and give the same results up to
    rounding. ``NCFM_KERNELS=off`` in the environment disables the kernels, and ``NCFM_KERNELS=no-amx`` their use of the
    matrix registers of AMX.
    """
    wanted = os.environ.get("NCFM_KERNELS", "").lower()
    if wanted in ("off", "0", "no"):
        return None
    if sys.platform != "linux":
        return None  # elsewhere PyTorch has another OpenMP, and two of them in one process compete for the cores
    command = cpp_compiler()
    if command is None:
        print(
            "Warning: no C++ compiler found, networks run on PyTorch's operators (slower, same result).",
            file=sys.stderr,
        )
        return None
    try:
        loops = ctypes.CDLL(str(_built(command)))
    except (OSError, subprocess.SubprocessError, RunError) as error:
        reason = getattr(error, "stderr", "") or str(error)
        print(
            f"Warning: the CPU kernels could not be built, networks run without them (slower): {reason}",
            file=sys.stderr,
        )
        return None
    loops.enable_amx(ctypes.c_int64(wanted != "no-amx"))
    return loops


_enabled = True


def enable(on: bool) -> None:
    """Switch the kernels on or off for this process (the setting ``machine.kernels``)."""
    global _enabled
    _enabled = on


def available() -> bool:
    """Whether the compiled loops are switched on and available, building them if needed."""
    return _enabled and load() is not None


def multiplies_bfloat16() -> bool:
    """Whether the compiled loops have products of bfloat16 numbers (with AVX512-BF16)."""
    loops = load() if _enabled else None
    return loops is not None and bool(loops.multiplies_bfloat16())


def use_amx(on: bool) -> bool:
    """Let the loops multiply by the matrix registers of AMX from now on, or not; whether they do."""
    loops = load()
    return loops is not None and bool(loops.enable_amx(ctypes.c_int64(on)))


def _built(command: list[str]) -> Path:
    """Path of the library for these sources, this compiler and processor; built if it does not exist."""
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=True, timeout=60).stdout
    sources = [path.read_text(encoding="utf-8") for path in sorted(SOURCES.iterdir()) if path.suffix in (".h", ".cpp")]
    parts = (*sources, *FLAGS, *command, version, platform.machine(), _processor())
    path = cache_dir() / "kernels" / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}.so"
    if not path.exists():
        write_atomically(path, lambda temporary: _compile(command, temporary))
    return path


def _compile(command: list[str], output: Path) -> None:
    subprocess.run(
        [*command, *FLAGS, str(SOURCES / "loops.cpp"), "-o", str(output)],
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS_TO_BUILD,
    )


def _processor() -> str:
    """Features of the processor, on which -march=native depends: machines may share a cache folder."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a kernel file, not a path of ours
            return next((line for line in file if line.startswith(("flags", "Features"))), "")
    except OSError:
        return platform.processor()
