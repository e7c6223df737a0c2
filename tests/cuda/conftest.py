"""What the tests of a GPU share: they are marked ``cuda`` in their files, and run by ``tools/gpu_check.sh``."""

import contextlib

import pytest
import torch

from ncfm._utils import accelerator
from on_device import DEVICE


@pytest.fixture(autouse=True)
def exact_products():
    """float32 products are not rounded to TF32, so that they can be compared with the CPU's."""
    cudnn = torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), cudnn.allow_tf32, cudnn.benchmark
    accelerator.use(DEVICE, tf32=False)
    yield
    torch.set_float32_matmul_precision(before[0])
    cudnn.allow_tf32, cudnn.benchmark = before[1:]


@contextlib.contextmanager
def _no_waits():
    if DEVICE.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def no_waits():
    """A context in which PyTorch raises where the host waits for the GPU."""
    return _no_waits


def relative(found, expected):
    """The length of the difference, relative to that of what is expected."""
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))


@pytest.fixture(name="relative")
def _relative():
    return relative
