"""What surrounds the iterations of a run: files, checkpoints, logging, progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ncfm.distillation.loggers import MetricLogger


@dataclass(frozen=True)
class RunControl:
    """What surrounds the iterations of a run; nothing of it changes a result."""

    folder: Path | None = None
    resume: bool = False
    checkpoint_seconds: float = 30.0
    log_every: int = 10
    diagnose_every: int | None = None
    on_iteration: Callable[[int, dict[str, float]], None] | None = None
    logger: MetricLogger | None = None
