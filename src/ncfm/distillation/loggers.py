"""Loggers of metrics in addition to the run folder: TensorBoard or Weights & Biases, both optional.

A logger receives the metrics of a run. It draws no random numbers from the run's streams and changes no result.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ncfm._utils.checks import InputError, check_known

LOGGERS = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
"""The module that each logger needs, by name. The extra that installs it has the name of the logger."""

EVENTS_FOLDER = "tensorboard"  # in the run folder


class MetricLogger(Protocol):
    """Receives the metrics of a run."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log the metrics of iteration ``step``; steps only grow."""
        ...

    def close(self) -> None:
        """Write what is buffered. Called once, also if the run is stopped or fails."""
        ...


def import_logger(name: str) -> Any:
    """The module that a logger needs.

    Raises:
        NcfmError: if the logger is unknown, or its package is not installed.
    """
    check_known(name, LOGGERS, "logger")
    try:
        return importlib.import_module(LOGGERS[name])
    except ImportError as error:
        raise InputError(
            f"machine.log={name} needs the package {name}, which could not be imported ({error}); "
            f'install it with: pip install "ncfm[{name}]"'
        ) from error


class TensorBoardLogger:
    """Scalars in event files below ``<folder>/tensorboard``, for ``tensorboard --logdir``.

    If a run is resumed, the points after its checkpoint are dropped, as in ``metrics.jsonl``.
    """

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        self._module = import_logger("tensorboard")
        if folder is None:
            raise InputError("machine.log=tensorboard writes into the run folder; give one (--out).")
        self._folder = folder / EVENTS_FOLDER

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Add one scalar per metric."""
        if self._writer is None:  # the first step shows where a resumed run continues
            self._writer = self._module.SummaryWriter(log_dir=str(self._folder), purge_step=step)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, global_step=step)

    def close(self) -> None:
        """Flush the file."""
        if self._writer is not None:
            self._writer.close()


class WandbLogger:
    """A run of Weights & Biases, in the project that ``WANDB_PROJECT`` names or "ncfm".

    The account, and whether it works offline, are wandb's own configuration. A resumed run is a new run of the same
    name that continues the steps.

    Args:
        folder: the run folder. wandb names its run after it, and keeps its files there.
        config: shown next to the run.
    """

    def __init__(self, folder: Path | None, config: Mapping[str, Any]) -> None:
        self._module = import_logger("wandb")
        self._folder, self._config = folder, dict(config)
        self._run: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log one point per metric."""
        if self._run is None:
            place: dict[str, Any] = {}
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                place = {"dir": str(self._folder), "name": self._folder.name}
            self._run = self._module.init(config=self._config, **_project(), **place)
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Upload what is buffered."""
        if self._run is not None:
            self._run.finish()


def _project() -> dict[str, str]:
    """The project as an option of wandb, unless the environment names one."""
    return {} if os.environ.get("WANDB_PROJECT") else {"project": "ncfm"}


def make_logger(name: str | None, folder: Path | None, config: Mapping[str, Any]) -> MetricLogger | None:
    """The logger with a name for a run; None without a name.

    Raises:
        NcfmError: as `import_logger`, or if TensorBoard has no folder to write to.
    """
    if name is None:
        return None
    check_known(name, LOGGERS, "logger")
    return TensorBoardLogger(folder) if name == "tensorboard" else WandbLogger(folder, config)
