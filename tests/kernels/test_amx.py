"""Products by the matrix registers of AMX: the machine code that such a processor runs, instruction by instruction.

Where the processor has no AMX, its instructions are emulated (`amx_emulator.cpp`); the bytes that are compiled are the
same. Needs AVX512-BF16.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
import torch

from blocks import (
    SHAPES,
    assert_same_bits_for_any_number_of_threads,
    assert_within_the_rounding_of_bfloat16,
    everywhere_positive,
    problem,
    values_and_gradients,
)
from ncfm import kernels
from ncfm.kernels import library

EMULATOR = Path(__file__).with_name("amx_emulator.cpp")
MANY = [shape for shape in SHAPES if shape[3] > 8]  # channels: others are convolved directly


@pytest.fixture(scope="module")
def emulator(tmp_path_factory, built_kernels):
    """The emulator and loops with the instructions of AMX, compiled."""
    if not kernels.multiplies_in(torch.bfloat16):
        pytest.skip("no products of bfloat16 numbers here")
    folder = tmp_path_factory.mktemp("amx")
    command = library.cpp_compiler()
    emulator, loops = folder / "emulator.so", folder / "loops.so"
    subprocess.run([*command, "-O2", "-fPIC", "-shared", str(EMULATOR), "-o", str(emulator)], check=True, timeout=60)
    flags = (*library.FLAGS, "-O1", "-mamx-tile", "-mamx-bf16", "-DNCFM_AMX_EMULATED")
    source = str(library.SOURCES / "loops.cpp")
    subprocess.run([*command, *flags, source, "-o", str(loops)], check=True, timeout=library.SECONDS_TO_BUILD)
    return ctypes.CDLL(str(emulator)), ctypes.CDLL(str(loops))


@pytest.fixture
def amx(emulator, monkeypatch):
    """The kernels by these loops, in bfloat16; how many instructions of AMX were executed."""
    emulated, loops = emulator
    monkeypatch.setattr(library, "load", lambda: loops)
    assert loops.enable_amx(ctypes.c_int64(1)) == 1
    emulated.begin_emulation()
    before = ctypes.c_int64.in_dll(emulated, "executed").value
    with torch.autocast("cpu", dtype=torch.bfloat16):
        yield lambda: ctypes.c_int64.in_dll(emulated, "executed").value - before
    emulated.end_emulation()
    loops.enable_amx(ctypes.c_int64(0))


@pytest.mark.parametrize("shape", [*MANY, (1, 21, 30, 16, 40), (3, 5, 5, 104, 8)])
def test_amx_is_the_block_within_the_rounding_of_bfloat16(shape, amx):
    assert_within_the_rounding_of_bfloat16(shape)
    assert amx() > 0


@pytest.mark.parametrize("shape", [(4, 8, 8, 128, 128), (5, 6, 6, 16, 40), (3, 12, 13, 40, 72)])
def test_amx_differs_from_pairs_by_the_order_of_sums(shape, amx):
    tensors = everywhere_positive(shape)
    found = values_and_gradients(kernels.block, tensors, torch.float32)
    executed = amx()
    library.load().enable_amx(ctypes.c_int64(0))
    pairs = values_and_gradients(kernels.block, tensors, torch.float32)
    assert amx() == executed > 0
    assert not all(torch.equal(a, b) for a, b in zip(found, pairs, strict=True))
    for i, (a, b) in enumerate(zip(found, pairs, strict=True)):
        assert i == 4 or (a - b).norm() <= 1e-4 * b.norm()  # dy is rounded behind the sums of y


@pytest.mark.parametrize("shape", [(37, 8, 8, 16, 24), (3, 9, 13, 40, 8)])
def test_amx_gives_the_same_bits_for_any_number_of_threads(shape, amx):
    assert_same_bits_for_any_number_of_threads(shape)
    assert amx() > 0


def test_the_first_layer_and_float32_do_without(amx):
    values_and_gradients(kernels.block, problem(2, 8, 8, 3, 16), torch.float32)
    with torch.autocast("cpu", enabled=False):
        values_and_gradients(kernels.block, problem(2, 8, 8, 16, 16), torch.float32)
        values_and_gradients(kernels.convolve3x3, problem(2, 8, 8, 16, 16)[:3], torch.float32)
    assert amx() == 0
