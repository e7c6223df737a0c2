"""Energy that the machine uses, where it has counters: Intel's and AMD's RAPL on Linux, NVIDIA's NVML."""

from __future__ import annotations

import contextlib
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


class EnergyMeter:
    """Joules that all processor packages and NVIDIA devices of the machine have used since the meter was created.

    Other programs on the machine are counted, too. RAPL's counters wrap around after some 10^5 joules, tens of minutes
    of a busy processor, so `sample` must be called more often than that.

    Args:
        powercap: the folder of the counters.
        gpus: also read NVML, if the package pynvml is installed.
    """

    def __init__(self, powercap: Path = POWERCAP, *, gpus: bool = True) -> None:
        self._packages = [zone for zone in sorted(powercap.glob("*-rapl:*")) if _is_package(zone)]
        self._gpus = gpus
        self._last = self._read()
        self._joules = 0.0

    @property
    def can_read(self) -> bool:
        """Whether any counter can be read."""
        return bool(self._last)

    def sample(self) -> float | None:
        """Joules so far; None if no counter can be read."""
        now = self._read()
        for name, (value, wrap) in now.items():
            if name in self._last:
                used = value - self._last[name][0]
                self._joules += used if used >= 0 else used + wrap
        self._last = now
        return self._joules if now else None

    def _read(self) -> dict[str, tuple[float, float]]:
        """The joules of each counter, and the number of joules after which it wraps around."""
        found = {}
        for zone in self._packages:
            with contextlib.suppress(OSError, ValueError):
                found[zone.name] = (_microjoules(zone / "energy_uj"), _microjoules(zone / "max_energy_range_uj"))
        if self._gpus:
            found |= _gpu_joules()
        return found


def _is_package(zone: Path) -> bool:
    """Whether a zone is a whole processor package: not a part of one, nor the platform around it."""
    try:
        return (zone / "name").read_text().strip().startswith("package")
    except OSError:
        return False


def _microjoules(path: Path) -> float:
    return int(path.read_text()) / 1e6


def _gpu_joules() -> dict[str, tuple[float, float]]:
    """The counters of all NVIDIA devices; none without the driver or the package."""
    try:
        import pynvml

        pynvml.nvmlInit()
        count = pynvml.nvmlDeviceGetCount()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
        return {f"gpu{i}": (pynvml.nvmlDeviceGetTotalEnergyConsumption(h) / 1e3, 0.0) for i, h in enumerate(handles)}
    except Exception:  # of driver or package: a run does not fail for lack of its energy
        return {}
