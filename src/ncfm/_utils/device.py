"""Choice of device, precision and compilation by what the machine supports, and measurements of memory."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ncfm._utils.checks import InputError

COMPILED_SIZE = 24  # image side in pixels; from there compilation saves more time than it takes
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_device(name: str = "auto") -> torch.device:
    """The named device, or with "auto" the first available one of CUDA, MPS and CPU.

    Raises:
        NcfmError: if the named device is unknown or not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"Unknown device {name!r}; use auto, cpu, cuda, cuda:N or mps.") from error
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.type, False):
        raise InputError(f"Device {name!r} is not available on this machine; use --device auto.")
    return device


def choose_precision(name: str, device: torch.device, *, compiled: bool) -> torch.dtype:
    """The named precision of real features and of training, or with "auto" the fastest safe one.

    "auto" is bfloat16 where the processor multiplies it natively: CUDA from Ampere on, CPUs with AVX-512 BF16 or AMX.
    Elsewhere bfloat16 is emulated and several times slower than float32, so "auto" is float32. On a CPU the networks
    must also be ``compiled``: without compilation, normalisation in bfloat16 makes a step seven times slower than the
    float32 kernels do.
    """
    if name != "auto":
        if name not in PRECISIONS:
            raise InputError(f"Unknown precision {name!r}; use auto, {', '.join(PRECISIONS)}.")
        return PRECISIONS[name]
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu":
        native = compiled and cpu_multiplies_bfloat16()
    else:
        native = False
    return torch.bfloat16 if native else torch.float32


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has native bfloat16 products (AVX-512 BF16 or AMX)."""
    probe = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(probe is not None and probe())


def cpu_has_amx() -> bool:
    """Whether this CPU multiplies tiles of bfloat16 numbers (AMX)."""
    probe = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return bool(probe is not None and probe())


def cpp_compiler() -> list[str] | None:
    """The command of the C++ compiler: $CXX (a wrapper is allowed: "ccache g++"), g++ or clang++; None without one."""
    for command in (shlex.split(os.environ.get("CXX", "")), ["g++"], ["clang++"]):
        if command and all(shutil.which(word) for word in command if not word.startswith("-")):
            return command
    return None


def choose_compiled(choice: str, device: torch.device, image_size: int) -> bool:
    """Whether to compile networks: "on", "off", or "auto" for where it saves more time than it takes.

    Compilation takes 10 to 60 s. From `COMPILED_SIZE` on it halves the time of a pass on a CPU: normalisation,
    rectifier and pooling become one loop over memory. On smaller images a whole run takes less time than compilation.
    """
    if choice == "on":
        missing = _missing_to_compile(device)
        if missing is not None:
            print(f"Warning: no {missing} found, networks run eagerly (slower, same result).", file=sys.stderr)
        return missing is None
    if choice == "off":
        return False
    if choice != "auto":
        raise InputError(f"compile must be auto, on or off, got {choice!r}.")
    return device.type in ("cpu", "cuda") and image_size >= COMPILED_SIZE and _missing_to_compile(device) is None


def _missing_to_compile(device: torch.device) -> str | None:
    """What ``torch.compile`` needs on a device and this machine lacks; None if nothing.

    On CUDA, Triton makes the kernels, and a C compiler the functions that launch them.
    """
    if device.type == "cuda":
        if importlib.util.find_spec("triton") is None:
            return "Triton"
        names = (os.environ.get("CC", ""), "gcc", "clang", "cc")
        return None if any(name and shutil.which(name) for name in names) else "C compiler"
    return "C++ compiler" if device.type == "cpu" and cpp_compiler() is None else None


def compiled(network: nn.Module, enabled: bool) -> Callable[..., Any]:
    """``network`` itself, or its compiled form. Both share parameters: a change in place holds for both."""
    return torch.compile(network) if enabled else network


def describe_device(device: torch.device) -> str:
    """A name for results files: the GPU's name, or the CPU's model with the number of threads in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return "Apple MPS"
    return _cpu_model()


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - a file of the kernel
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        model = next(v.strip() for k, v in fields.items() if k.strip() == "model name")
    except (OSError, StopIteration):
        model = "CPU"
    features = torch.backends.cpu.get_cpu_capability()
    return f"{model} ({features})"


def keep_freed_memory() -> None:
    """Let the C library keep freed memory for the next allocation instead of returning it to the kernel.

    A network's activations are freed and allocated again thousands of times. By default glibc maps each large block
    again, and the page faults take from a fifth of an iteration to more than half of it.
    """
    mmap_max, trim_threshold = -4, -1  # parameter numbers in malloc.h
    with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
        libc = ctypes.CDLL(None)
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, -1)  # never


def give_back_memory(device: torch.device) -> None:
    """Return freed memory from the allocator to the system, after work whose memory nothing else will need."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        return
    with contextlib.suppress(OSError, AttributeError):  # glibc's
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of this process so far in MiB: the allocator's on CUDA, the resident set elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    with contextlib.suppress(OSError, StopIteration, ValueError):
        # Preferred to ru_maxrss, whose value starts from the peak of the parent process.
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**10
    import resource  # not on Windows

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**10 if sys.platform != "darwin" else peak / 2**20


def measure_peak_memory(device: torch.device) -> Callable[[], float]:
    """Start to measure memory; the returned function gives the peak since now in MiB, minus what is allocated now.

    On Linux and CUDA the peak is reset. Freed memory is returned to the system first, so that no measurement profits
    from the one before. Elsewhere only memory above the peak of the process so far is counted.
    """
    give_back_memory(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device) / 2**20
    else:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what is resident now
        held = peak_memory_mb(device)
    return lambda: max(peak_memory_mb(device) - held, 0.0)


def available_memory(device: torch.device) -> int | None:
    """Bytes available to new tensors on the device: free ones and, on CUDA, those that the allocator keeps unused.

    On a CPU it is the minimum of the system's available memory and the limit of the control group. None where it is
    not known: on MPS, and on systems other than Linux.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    try:
        meminfo = Path("/proc/meminfo").read_text(encoding="utf-8")
        available = next(int(line.split()[1]) for line in meminfo.splitlines() if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return None
    limits = [available * 1024]
    with contextlib.suppress(OSError, ValueError):
        group = Path("/sys/fs/cgroup")  # version 2; "max" is not a number
        limits.append(
            int((group / "memory.max").read_text(encoding="utf-8"))
            - int((group / "memory.current").read_text(encoding="utf-8"))
        )
    return max(min(limits), 0)


OUT_OF_MEMORY = (  # in messages of PyTorch, the system, oneDNN, C++, cuBLAS and cuDNN
    *("can't allocate memory", "out of memory", "Cannot allocate memory"),
    *("could not create a primitive", "could not create a memory object", "std::bad_alloc"),
    *("CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED", "DEVICE_ALLOCATION_FAILED"),
    "unable to find an engine",  # a convolution of cuDNN, for none of whose algorithms the memory suffices
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocation failed, on any device."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)
