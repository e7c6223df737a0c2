"""How a run is controlled: where it writes, how often, and who is informed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ncfm._utils.checks import InputError, check_at_least
from ncfm.distillation.callback import Callback
from ncfm.distillation.loggers import MetricLogger


@dataclass(frozen=True)
class RunControl:
    """What a run does next to its iterations. No field changes the resulting images.

    Raises:
        NcfmError: for an interval out of range, or if ``resume`` has no folder.
    """

    folder: Path | None = None
    """Run folder for checkpoints, metrics and snapshots; nothing is written if None."""

    resume: bool = False
    """Continue from the checkpoint in ``folder``."""

    checkpoint_seconds: float = 30.0
    """Seconds between two checkpoints; 0 saves after every iteration."""

    log_every: int = 10
    """Iterations between two entries of the metrics. The first and the last iteration are always logged."""

    diagnose_every: int | None = None
    """Iterations between two diagnoses of the adversary, see `ncfm.distillation.diagnosis`; None for no diagnosis."""

    on_iteration: Callable[[int, dict[str, float]], None] | None = None
    """Called after each iteration, see `ncfm.distillation.callbacks.ProgressReport`."""

    logger: MetricLogger | None = None
    """Receives the metrics as they are logged; closed when the run ends."""

    callbacks: tuple[Callback, ...] = ()
    """The caller's own callbacks, called in this order after the built-in ones."""

    def __post_init__(self) -> None:
        check_at_least(self.checkpoint_seconds, 0, "checkpoint_seconds")
        check_at_least(self.log_every, 1, "log_every")
        if self.diagnose_every is not None:
            check_at_least(self.diagnose_every, 1, "diagnose_every")
        if self.resume and self.folder is None:
            raise InputError("resume needs the folder of an interrupted run (--out).")

    @property
    def resumed_folder(self) -> Path | None:
        """The folder whose checkpoint the run loads; None for a new run."""
        return self.folder if self.resume else None
