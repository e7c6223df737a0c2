"""How many images go through a network at a time, from what is known of memory; and which classes share a pass."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ncfm._utils.checks import InputError
from ncfm.distillation.pass_sizes import (
    CPU_CHUNK,
    CPU_PASS_BYTES,
    GPU_CHUNK,
    MEMORY_SHARE,
    PASS_PEAK,
    Memory,
    class_slices,
    pass_with_gradient,
    pass_without_gradient,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
MB = 2**20
ALL = slice(None)


def with_gradient(memory, device=CPU, *, by_classes=True, total=1000, of_a_class=10):
    return pass_with_gradient(memory, total=total, of_a_class=of_a_class, device=device, by_classes=by_classes)


def test_a_stated_memory_is_shared_by_what_is_fixed_and_a_pass():
    memory = Memory(per_image=MB, free=10**12, stated=100 * MB, fixed=40 * MB)
    assert memory.fitting == int(60 / PASS_PEAK)
    for device in (CPU, CUDA):
        assert with_gradient(memory, device) == memory.fitting
        assert pass_without_gradient(memory, device) == memory.fitting


def test_without_a_stated_memory_a_share_of_the_free_one_may_be_used():
    memory = Memory(per_image=MB, free=400 * MB)
    assert memory.fitting == 400 * MEMORY_SHARE
    assert with_gradient(memory, CUDA) == 100
    assert with_gradient(memory, CUDA, total=100) is None  # all fit
    assert with_gradient(Memory(per_image=MB, free=MB), CUDA) == 1


def test_on_a_cpu_a_pass_is_small_but_holds_a_class():
    memory = Memory(per_image=MB, free=2**40)
    assert with_gradient(memory) == CPU_PASS_BYTES // MB
    assert with_gradient(memory, of_a_class=500) == 500  # it would be computed twice if it were cut
    assert with_gradient(Memory(per_image=MB, free=400 * MB), of_a_class=500) == 100  # unless it does not fit
    assert with_gradient(memory, by_classes=False) is None  # cutting costs time, and there is room


def test_unknown_memory_allows_any_pass():
    memory = Memory(per_image=1, free=None)
    assert memory.fitting is None
    assert with_gradient(memory) is None
    assert pass_without_gradient(memory, CPU) == CPU_CHUNK
    assert pass_without_gradient(memory, CUDA) == GPU_CHUNK


def test_large_images_go_in_smaller_passes_without_gradient_too():
    assert pass_without_gradient(Memory(per_image=10 * MB, free=400 * MB), CPU) == 10


def test_too_little_memory_is_refused_with_what_is_needed():
    Memory(per_image=MB, free=None, stated=43 * MB, fixed=40 * MB).check()
    Memory(per_image=MB, free=0).check()
    with pytest.raises(InputError, match=r"at least 43 MiB with passes of one image, got machine\.memory_mb=42;"):
        Memory(per_image=MB, free=None, stated=42 * MB, fixed=40 * MB).check()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 40), st.integers(0, 5))
def test_slices_hold_every_class_once_and_no_more_images_than_allowed(counts, largest, first):
    part = slice(first, None)
    expected = list(range(*part.indices(len(counts))))
    slices = class_slices(counts, part, largest)
    found = [index for own in slices for index in range(*own.indices(len(counts)))]
    assert found == expected
    for own in slices:
        assert len(counts[own]) <= 1 or sum(counts[own]) <= largest


@pytest.mark.parametrize(("largest", "sizes"), [(None, [10]), (40, [10]), (39, [5, 5]), (16, [4, 3, 3]), (3, [1] * 10)])
def test_equal_classes_are_shared_out_evenly(largest, sizes):
    assert [len(range(10)[own]) for own in class_slices([4] * 10, ALL, largest)] == sizes
