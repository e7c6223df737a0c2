"""Device, precision and compilation: what "auto" chooses, and what is refused."""

from __future__ import annotations

import platform
import sys

import pytest
import torch

import warm
from ncfm._utils import device as _device
from ncfm._utils.checks import NcfmError
from ncfm._utils.device import (
    choose_compiled,
    choose_device,
    choose_precision,
    compiled,
    cpp_compiler,
    describe_device,
    measure_peak_memory,
    peak_memory_mb,
)
from ncfm.config.build import build_machine
from ncfm.config.schema import MachineConfig

CPU, CUDA, MPS = (torch.device(name) for name in ("cpu", "cuda", "mps"))


@pytest.fixture
def machine(monkeypatch):
    """A machine with the named accelerators; says nothing about what this one has."""

    def build(*, cuda=0, mps=False, cuda_bfloat16=False, cpu_bfloat16=False, programs=(), triton=True):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: cuda_bfloat16)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        monkeypatch.setattr(_device, "cpu_multiplies_bfloat16", lambda: cpu_bfloat16)
        found = {name: f"/usr/bin/{name}" for name in programs}
        monkeypatch.setattr(_device.shutil, "which", found.get)
        monkeypatch.setattr(_device.importlib.util, "find_spec", lambda name: name if triton else None)
        for name in ("CC", "CXX"):
            monkeypatch.delenv(name, raising=False)

    return build


@pytest.mark.parametrize(
    ("has", "expected"),
    [({}, "cpu"), ({"mps": True}, "mps"), ({"cuda": 1}, "cuda"), ({"cuda": 1, "mps": True}, "cuda")],
)
def test_auto_takes_the_first_device_there_is(machine, has, expected):
    machine(**has)
    assert choose_device("auto").type == choose_device().type == expected


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "cpu:", "auto "])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(NcfmError, match=r"Unknown device .* use auto, cpu, cuda"):
        choose_device(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "meta"])
def test_a_device_that_is_not_there_is_refused(machine, name):
    machine()
    with pytest.raises(NcfmError, match=f"{name}.*not available.*--device auto"):
        choose_device(name)


def test_cuda_devices_are_counted(machine):
    machine(cuda=2)
    assert choose_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(NcfmError, match="cuda:2"):
        choose_device("cuda:2")


def test_the_cpu_is_always_there(machine):
    machine(cuda=1)
    assert choose_device("cpu") == CPU


@pytest.mark.parametrize(
    ("has", "device", "compiled", "expected"),
    [
        ({}, CPU, True, torch.float32),
        ({"cpu_bfloat16": True}, CPU, True, torch.bfloat16),
        ({"cpu_bfloat16": True}, CPU, False, torch.float32),  # operator by operator it is several times slower
        ({"cpu_bfloat16": True}, CUDA, True, torch.float32),
        ({"cuda_bfloat16": True}, CUDA, True, torch.bfloat16),
        ({"cuda_bfloat16": True}, CUDA, False, torch.bfloat16),
        ({"cuda_bfloat16": True, "cpu_bfloat16": True}, MPS, True, torch.float32),
    ],
)
def test_auto_precision_is_bfloat16_only_where_it_is_fast(machine, has, device, compiled, expected):
    machine(**has)
    assert choose_precision("auto", device, compiled=compiled) == expected


@pytest.mark.parametrize(
    ("size", "settings", "precision", "compiles"),
    [
        (32, {}, torch.bfloat16, True),
        (8, {}, torch.float32, False),
        (8, {"compile": "on"}, torch.bfloat16, True),
        (32, {"compile": "off"}, torch.float32, False),
        (32, {"precision": "float32"}, torch.float32, False),  # the own kernels
        (32, {"precision": "float32", "compile": "on"}, torch.float32, True),
        (32, {"precision": "float32", "kernels": "off"}, torch.float32, True),
        (8, {"precision": "bfloat16"}, torch.bfloat16, False),  # who asks gets it
    ],
)
def test_a_cpu_with_bfloat16_computes_in_it_where_networks_are_compiled(
    machine, monkeypatch, size, settings, precision, compiles
):
    machine(cpu_bfloat16=True, programs=["g++"])
    monkeypatch.setattr("ncfm.kernels.library.load", lambda: object())
    monkeypatch.setattr("ncfm.kernels.library.multiplies_bfloat16", lambda: False)
    built = build_machine(MachineConfig(device="cpu", **settings), size)
    assert (built.precision, built.compile_networks) == (precision, compiles)


@pytest.mark.parametrize(
    ("networks", "size", "amx", "compiles"),
    [
        (("convnet", "convnet"), 32, False, False),
        (("convnet", "convnet4"), 64, False, False),
        (("convnet", "convnet"), 32, True, True),  # compiled operators use its tiles
        (("convnet", "resnet18"), 32, False, True),  # its layers are slow in bfloat16 unless compiled
        (("convnet3-batch",), 32, False, True),
        (("convnetw12",), 32, False, True),  # channels that do not fill registers
        (("convnet5",), 32, False, True),  # a last block smaller than a tile
        (("mine:make",), 32, False, True),
    ],
)
def test_networks_that_are_all_kernels_are_not_compiled_for_bfloat16(
    machine, monkeypatch, networks, size, amx, compiles
):
    machine(cpu_bfloat16=True, programs=["g++"])
    monkeypatch.setattr("ncfm.kernels.library.load", lambda: object())
    monkeypatch.setattr("ncfm.kernels.library.multiplies_bfloat16", lambda: True)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    built = build_machine(MachineConfig(device="cpu"), size, networks)
    assert (built.precision, built.compile_networks) == (torch.bfloat16, compiles)


def test_a_named_precision_is_taken_anywhere():
    for name in ("float32", "bfloat16", "float16"):
        assert choose_precision(name, CPU, compiled=False) == getattr(torch, name)


@pytest.mark.parametrize("name", ["float64", "fp16", ""])
def test_an_unknown_precision_is_refused(name):
    with pytest.raises(NcfmError, match=r"Unknown precision .* float32, bfloat16, float16"):
        choose_precision(name, CPU, compiled=True)


def test_a_torch_without_the_probe_counts_as_without_bfloat16(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not _device.cpu_multiplies_bfloat16()


@pytest.mark.parametrize(
    ("choice", "device", "size", "programs", "expected"),
    [
        ("off", CUDA, 224, ["g++"], False),
        ("on", CPU, 8, ["g++"], True),
        ("on", CPU, 8, ["clang++"], True),
        ("on", CUDA, 8, ["gcc"], True),
        ("on", MPS, 8, [], True),
        ("auto", CPU, 32, ["g++"], True),
        ("auto", CPU, 32, [], False),
        ("auto", CPU, 24, ["g++"], True),
        ("auto", CPU, 23, ["g++"], False),
        ("auto", CUDA, 32, ["gcc"], True),
        ("auto", CUDA, 32, ["cc"], True),
        ("auto", CUDA, 32, [], False),
        ("auto", CUDA, 8, ["gcc"], False),
        ("auto", MPS, 224, ["g++"], False),
    ],
)
def test_choice_of_compilation(machine, choice, device, size, programs, expected):
    machine(programs=programs)
    assert choose_compiled(choice, device, size) is expected


def test_without_a_compiler_networks_run_eagerly_and_the_user_is_told(machine, capsys):
    machine()
    assert choose_compiled("on", CPU, 64) is False
    assert "no C++ compiler found" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("has", "missing"), [({"triton": False, "programs": ["gcc"]}, "Triton"), ({"programs": ["g++"]}, "C compiler")]
)
def test_without_what_makes_kernels_for_a_gpu_networks_run_eagerly(machine, capsys, has, missing):
    machine(**has)
    assert choose_compiled("auto", CUDA, 64) is False
    assert capsys.readouterr().err == ""
    assert choose_compiled("on", CUDA, 64) is False
    assert f"no {missing} found" in capsys.readouterr().err


@pytest.mark.parametrize("choice", ["yes", "", "Auto"])
def test_an_unknown_choice_of_compilation_is_refused(choice):
    with pytest.raises(NcfmError, match="auto, on or off"):
        choose_compiled(choice, CPU, 32)


def test_the_compiler_named_by_the_environment_counts(machine, monkeypatch):
    machine(programs=["my-c++"])
    assert cpp_compiler() is None
    monkeypatch.setenv("CXX", "my-c++ -m64")
    assert cpp_compiler() == ["my-c++", "-m64"]
    monkeypatch.setenv("CXX", "ccache my-c++")
    assert cpp_compiler() is None  # there is no ccache


def test_uncompiled_is_the_network_itself():
    network = torch.nn.Linear(2, 2)
    assert compiled(network, False) is network


def test_descriptions_name_the_hardware(monkeypatch):
    assert describe_device(CPU)
    assert describe_device(MPS) == "Apple MPS"
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Some GPU")
    assert describe_device(CUDA) == "Some GPU"


def test_peak_memory_is_in_mebibytes():
    # Python with torch takes between 50 MiB and 100 GiB; bytes or KiB would fall outside.
    assert 50 < peak_memory_mb(CPU) < 100_000


# --- memory -------------------------------------------------------------------------------------------------


def test_available_memory_is_what_the_system_says(monkeypatch, tmp_path):
    files = {"/proc/meminfo": "MemTotal: 900 kB\nMemAvailable:     500 kB\n"}
    monkeypatch.setattr(_device.Path, "read_text", lambda self, **_: read(files, self))
    assert _device.available_memory(CPU) == 500 * 1024
    files |= {"/sys/fs/cgroup/memory.max": "400000\n", "/sys/fs/cgroup/memory.current": "100000\n"}
    assert _device.available_memory(CPU) == 300_000
    files["/sys/fs/cgroup/memory.current"] = "500000"
    assert _device.available_memory(CPU) == 0
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert _device.available_memory(CPU) == 500 * 1024


def test_unknown_memory_is_none(monkeypatch):
    monkeypatch.setattr(_device.Path, "read_text", lambda self, **_: read({}, self))
    assert _device.available_memory(CPU) is None
    assert _device.available_memory(MPS) is None


def read(files, path):
    if str(path) not in files:
        raise FileNotFoundError(path)
    return files[str(path)]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("FIND was unable to find an engine to execute this computation"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM"), False),
        (MemoryError(), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (RuntimeError("could not create a primitive"), True),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert _device.is_out_of_memory(error) is expected


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak does not begin anew")
def test_peak_memory_is_what_the_work_took():
    cpu = torch.device("cpu")
    for megabytes in (96, 48):  # the second is not hidden behind the first
        peak = measure_peak_memory(cpu)
        work = torch.ones(megabytes * 2**18)  # float32
        assert peak() == pytest.approx(megabytes, abs=16)
        del work
        assert peak() == pytest.approx(megabytes, abs=16)


FAULTS = """
import resource, torch
from ncfm.config.build import build_machine
from ncfm.config.schema import MachineConfig

{build}
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(2**24)  # 64 MiB: 16,384 pages of 4 KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(faults() for _ in range(25)))  # the first ones, up to ten, may still find holes that are too small
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
def test_a_machine_keeps_freed_memory_in_every_precision(precision):
    def faults(build):
        ended = warm.run(warm.program, FAULTS.format(build=build))
        assert ended.code == 0, ended.err
        return int(ended.out)

    kept = f'build_machine(MachineConfig(device="cpu", precision="{precision}", compile="off"), 32)'
    assert faults(kept) < 100
    if precision == "float32":
        assert faults("") > 10_000


GIVEN_BACK = """
import pathlib, torch
from ncfm._utils.device import give_back_memory, keep_freed_memory

keep_freed_memory()
def resident():
    status = pathlib.Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 2**10
work = [torch.ones(2**18) for _ in range(200)]  # of 1 MiB
del work
held = resident()
give_back_memory(torch.device("cpu"))
print(held - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc's allocator")
def test_kept_memory_can_be_given_back():
    ended = warm.run(warm.program, GIVEN_BACK)
    assert ended.code == 0, ended.err
    assert 150 < float(ended.out) < 250
