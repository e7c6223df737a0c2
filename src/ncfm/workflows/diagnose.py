"""The diagnoses of a run: its learned frequencies next to fixed ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, NcfmError
from ncfm.distillation.history import DIAGNOSIS_FILE, read_lines
from ncfm.synthetic.storage import load


@dataclass(frozen=True)
class Diagnoses:
    """What a run recorded every ``machine.diagnose_every`` iterations."""

    entries: tuple[Mapping[str, Any], ...]
    """One per recorded iteration: "iteration", and for "learned" and "fixed" frequencies, each as a list over the
    classes, "learned.discrepancy" (NCFD), "learned.amplitude_share", "learned.modulus" and "learned.excess"; further
    the quantiles "learned.bandwidths". See `ncfm.distillation.diagnosis.Look`."""
    class_names: tuple[str, ...]


def diagnose(run: str | Path) -> Diagnoses:
    """Read the diagnoses of a run, which compare its learned frequencies with fixed ones of the same number and scale.

    Args:
        run: a run folder, distilled with ``settings={"machine.diagnose_every": 50}``.

    Raises:
        NcfmError: if the run has recorded none.

    >>> last = diagnose("runs/digits-ipc1").entries[-1]  # doctest: +SKIP
    >>> last["iteration"], last["learned.discrepancy"], last["fixed.discrepancy"]  # doctest: +SKIP
    """
    folder = Path(run).expanduser()
    entries = read_lines(folder / DIAGNOSIS_FILE)
    if not entries:
        raise InputError(
            f"{folder} has no {DIAGNOSIS_FILE}. Distil with --set machine.diagnose_every=50 and an objective that has "
            "frequencies."
        )
    return Diagnoses(tuple(entries), _class_names(folder, len(entries[-1]["learned.discrepancy"])))


def _class_names(folder: Path, count: int) -> tuple[str, ...]:
    """The class names of the run's set; numbers if it has no set yet."""
    numbers = tuple(str(i) for i in range(count))
    try:
        names = load(folder).class_names
    except NcfmError:
        return numbers
    return names if len(names) == count else numbers
