"""The rate of a large matrix product: what a machine reaches at best, to compare stages with."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch

SIDES = {"cpu": 1024, "cuda": 8192}  # of the square matrices
REPEATS = 10


def clock_of(device: torch.device) -> Callable[[], float]:
    """Seconds by a clock that suits the device: CPU seconds of all threads, or time after waiting for a GPU.

    CPU seconds hardly depend on other programs that run at the same time.
    """
    if device.type == "cpu":
        return time.process_time

    def read() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()

    return read


def matmul_rate(device: torch.device, precision: torch.dtype) -> float:
    """Operations per second, by `clock_of`, of the fastest of some products of two square matrices."""
    side, clock = SIDES.get(device.type, 2048), clock_of(device)
    a = torch.randn(side, side, device=device).to(precision)
    a @ a
    best = float("inf")
    for _ in range(REPEATS):
        began = clock()
        a @ a
        best = min(best, clock() - began)
    return 2 * side**3 / max(best, 1e-9)
