"""Where metrics go beside the run folder: TensorBoard or Weights & Biases, both optional.

A logger is told what the run has measured; it draws no random numbers of the run's streams and changes no result.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from ncfm._utils.checks import NcfmError, check_known

LOGGERS = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
"""Names with the module that each needs; the extra that installs it has the logger's name."""

EVENTS_FOLDER = "tensorboard"  # in the run folder


class MetricLogger(Protocol):
    """Whoever keeps the metrics of a run."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Keep what iteration ``step`` measured; steps only grow."""
        ...

    def close(self) -> None:
        """Write what is left. Called once, also where the run is stopped or fails."""
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
        raise NcfmError(
            f"machine.log={name} needs the package {name}, which could not be imported ({error}); "
            f'install it with: pip install "ncfm[{name}]"'
        ) from error


class TensorBoardLogger:
    """Scalars in event files below ``<folder>/tensorboard``, for ``tensorboard --logdir``.

    Of a run that is resumed the points after the saved state are dropped, as they are from ``metrics.jsonl``.
    """

    def __init__(self, folder: Path | None) -> None:
        self._writer: Any = None
        self._module = import_logger("tensorboard")
        if folder is None:
            raise NcfmError("machine.log=tensorboard writes into the run folder; give one (--out).")
        self._folder = folder / EVENTS_FOLDER

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One scalar for each metric."""
        if self._writer is None:  # now it is known where the run goes on
            self._writer = self._module.SummaryWriter(log_dir=str(self._folder), purge_step=step)
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, global_step=step)

    def close(self) -> None:
        """Flush the file."""
        if self._writer is not None:
            self._writer.close()


class WandbLogger:
    """A run of Weights & Biases, in the project that ``WANDB_PROJECT`` names or "ncfm".

    Where it goes (online, offline, which account) is wandb's own configuration. A run that is resumed is a new run of
    the same name, whose steps go on.

    Args:
        folder: the run folder, whose name is the run's and where wandb keeps its files.
        config: shown beside the run.
    """

    def __init__(self, folder: Path | None, config: Mapping[str, Any]) -> None:
        self._module = import_logger("wandb")
        self._folder, self._config = folder, dict(config)
        self._run: Any = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """One point of every metric."""
        if self._run is None:
            place: dict[str, Any] = {}
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
                place = {"dir": str(self._folder), "name": self._folder.name}
            self._run = self._module.init(config=self._config, **_project(), **place)
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Upload what is left."""
        if self._run is not None:
            self._run.finish()


def _project() -> dict[str, str]:
    """The project, unless the environment names one."""
    return {} if os.environ.get("WANDB_PROJECT") else {"project": "ncfm"}


def make_logger(name: str | None, folder: Path | None, config: Mapping[str, Any]) -> MetricLogger | None:
    """The logger called ``name`` for a run; None for none.

    Raises:
        NcfmError: as `import_logger`, or if TensorBoard has no folder to write to.
    """
    if name is None:
        return None
    check_known(name, LOGGERS, "logger")
    return TensorBoardLogger(folder) if name == "tensorboard" else WandbLogger(folder, config)
