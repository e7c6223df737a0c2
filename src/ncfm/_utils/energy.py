"""Energy that the machine has used, where it tells: Intel's and AMD's RAPL counters on Linux, NVIDIA's NVML."""

from __future__ import annotations

import contextlib
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules of all processor packages and NVIDIA devices of the machine since the meter was made.

    They are the machine's, whoever else uses it. RAPL's counters begin anew after some 10^5 joules, tens of minutes of
    a busy processor, so `sample` has to be called more often than that.

    Args:
        powercap: where the kernel shows the counters.
        gpus: also ask NVML, if the package pynvml is there.
    """

    def __init__(self, powercap: Path = POWERCAP, *, gpus: bool = True) -> None:
        self._packages = [zone for zone in sorted(powercap.glob("*-rapl:*")) if _is_package(zone)]
        self._gpus = gpus
        self._last = self._read()
        self._joules = 0.0

    @property
    def can_read(self) -> bool:
        """Whether there is any counter that may be read."""
        return bool(self._last)

    def sample(self) -> float | None:
        """Joules so far; None if no counter can be read."""
        now = self._read()
        for name, (value, turn) in now.items():
            if name in self._last:
                used = value - self._last[name][0]
                self._joules += used if used >= 0 else used + turn
        self._last = now
        return self._joules if now else None

    def _read(self) -> dict[str, tuple[float, float]]:
        """By counter its joules, and the number of joules after which it begins anew."""
        found = {}
        for zone in self._packages:
            with contextlib.suppress(OSError, ValueError):
                found[zone.name] = (_microjoules(zone / "energy_uj"), _microjoules(zone / "max_energy_range_uj"))
        if self._gpus:
            found |= _gpu_joules()
        return found


def _is_package(zone: Path) -> bool:
    """Whether a zone is a processor's own: not a part of one, nor a platform that holds them all."""
    try:
        return (zone / "name").read_text().strip().startswith("package")
    except OSError:
        return False


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def _gpu_joules() -> dict[str, tuple[float, float]]:
    """Of every NVIDIA device; nothing without driver or package."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        return {f"gpu{i}": (pynvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3, 0.0) for i, h in enumerate(handles)}
    except Exception:  # whatever is missing or wrong there: energy is a remark beside the result
        return {}
