"""Lenient reading of a run folder: missing or damaged files become sentences instead of errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ncfm._utils.checks import InputError, NcfmError
from ncfm._utils.files import read_json
from ncfm._utils.types import Statistics
from ncfm.config.layers import make_config
from ncfm.config.resolve import FINGERPRINT
from ncfm.config.schema import RunConfig
from ncfm.distillation.checkpoint import CHECKPOINT_FILE
from ncfm.distillation.history import DIAGNOSIS_FILE, METRICS_FILE, read_lines
from ncfm.distillation.snapshots import SNAPSHOTS_FOLDER, Snapshot, read_snapshots
from ncfm.report.fields import number, text
from ncfm.report.scores import Score, read_own_scores, scores_of
from ncfm.synthetic.folders import CONFIG_FILE, FACTS_FILE, SET_FOLDER, no_set
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet

T = TypeVar("T")


@dataclass
class RunFolder:
    """A finished or interrupted run, or a set without its run."""

    path: Path
    address: str = ""  # of a set on the hub or in the gallery, whose path is not a name for people
    data: str | None = None
    ipc: int | None = None
    config: RunConfig | None = None
    stored: Mapping[str, Any] = field(default_factory=dict)  # the configuration as stored
    synthetic: SyntheticSet | None = None
    fingerprint: str | None = None  # of the data that the run began with
    finished: bool = False
    images_hash: str = ""
    scores: list[Score] = field(default_factory=list)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    diagnoses: list[dict[str, Any]] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # sentences by section

    @property
    def name(self) -> str:
        """The last part of its address or path."""
        return re.split("[:/]", self.address)[-1] if self.address else self.path.resolve().name

    @property
    def place(self) -> str:
        """Its address or path, without folders of this machine."""
        return self.address or (self.name if self.path.is_absolute() else str(self.path))

    @property
    def facts(self) -> Mapping[str, Any]:
        """The facts that the set records."""
        return {} if self.synthetic is None else self.synthetic.facts

    @property
    def origin(self) -> Mapping[str, Any]:
        """What is recorded of the data: by the set, else by the run."""
        return {FINGERPRINT: self.fingerprint} | dict(self.facts) | {"data": self.data, "config": self.stored}

    @property
    def score(self) -> Score | None:
        """The evaluation that represents the run: the last one with the network of its recipe, else the last."""
        network = None if self.config is None else self.config.evaluate.network
        usual = [score for score in self.scores if score.network == network]
        last = (usual or self.scores)[-1:]
        return last[0] if last else None


def open_run(path: Path) -> RunFolder:
    """Read a run folder or a set.

    Raises:
        NcfmError: if the folder is neither.
    """
    if not any(
        (path / name).is_file() for name in (CONFIG_FILE, FACTS_FILE, f"{SET_FOLDER}/{FACTS_FILE}", CHECKPOINT_FILE)
    ):
        raise no_set(path)
    run = RunFolder(path)
    _read_configuration(run)
    _read_images(run)
    stored = run.stored or run.facts.get("config", {})
    run.stored = stored if isinstance(stored, dict) else {}
    run.data = run.data or text(run.facts.get("data"))
    if run.synthetic is not None:  # None for unequal classes
        run.ipc = run.synthetic.ipc if run.synthetic.counts is None else None
    run.config = run.config or _lenient(run, "settings", lambda: make_config(run.stored), None)
    run.scores = _lenient(run, "accuracy", lambda: read_own_scores(path), []) or _stored_scores(run)
    run.metrics = _lenient(run, "curves", lambda: _with_iterations(read_lines(path / METRICS_FILE)), [])
    run.diagnoses = _lenient(run, "frequencies", lambda: _with_iterations(read_lines(path / DIAGNOSIS_FILE)), [])
    run.snapshots = _lenient(run, "snapshots", lambda: read_snapshots(path), [])
    _note_missing(run)
    return run


def _read_configuration(run: RunFolder) -> None:
    file = run.path / CONFIG_FILE
    found: Any = _lenient(run, "settings", lambda: read_json(file), None, needed=file)
    if isinstance(found, dict):
        run.data, run.stored = text(found.get("data")), found.get("config") or {}
        run.fingerprint = text(found.get(FINGERPRINT))
        run.ipc = found["ipc"] if isinstance(found.get("ipc"), int) else None


def _read_images(run: RunFolder) -> None:
    """The set, or the images of the checkpoint of an interrupted run."""
    home = run.path if (run.path / FACTS_FILE).is_file() else run.path / SET_FOLDER
    run.synthetic = _lenient(run, "images", lambda: load(home), None, needed=home / FACTS_FILE)
    if run.synthetic is not None:
        run.finished = True
        run.images_hash = str(read_json(home / FACTS_FILE).get("images_hash", ""))
        return
    images = _lenient(
        run, "images", lambda: _images_of_state(run.path / CHECKPOINT_FILE), None, needed=run.path / CHECKPOINT_FILE
    )
    if images is not None:
        names = tuple(f"class {i}" for i in range(len(images)))
        unknown = Statistics((0.0,) * images.shape[2], (1.0,) * images.shape[2])
        try:
            config = make_config(dict(run.stored)).distill
            run.synthetic = SyntheticSet(images, names, unknown, config.factor, config.mode, config.bound)
        except NcfmError:
            run.synthetic = SyntheticSet(images, names, unknown)


def _images_of_state(path: Path) -> Tensor:
    try:
        with safe_open(path, framework="pt") as file:
            images: Tensor = file.get_tensor("images")
    except (OSError, SafetensorError) as error:
        raise InputError(f"Could not read {path.name}: {error}.") from error
    return images


def _lenient(run: RunFolder, section: str, read: Callable[[], T], otherwise: T, *, needed: Path | None = None) -> T:
    """The value that is read; if reading fails, another value and a sentence. A missing ``needed`` file is silent."""
    if needed is not None and not needed.is_file():
        return otherwise
    try:
        return read()
    except (NcfmError, TypeError, ValueError, AttributeError, KeyError) as error:
        reason = str(error) if isinstance(error, NcfmError) else f"it cannot be read ({error})"
        run.missing[section] = reason.replace(str(run.path.parent) + "/", "")  # without folders of this machine
        return otherwise


def _note_missing(run: RunFolder) -> None:
    name, missing = run.path.name, run.missing
    if run.synthetic is None:
        missing.setdefault(
            "images", f"{name} has neither a set nor a checkpoint: the run was stopped before it saved anything."
        )
    if not run.scores:
        missing.setdefault(
            "accuracy", "The set has not been evaluated yet: run `ncfm evaluate`, then `ncfm report` again."
        )
    elif run.score is None or not run.score.confusion:
        missing.setdefault("classes", "The evaluation has no confusion matrix.")
    if not run.metrics:
        missing.setdefault("curves", f"The folder has no {METRICS_FILE}, to which a run logs its losses.")
    if not run.diagnoses:
        missing.setdefault(
            "frequencies",
            f"The folder has no {DIAGNOSIS_FILE}: diagnosis was off "
            "(distil with `--set machine.diagnose_every=50`), or the run has no frequencies.",
        )
    if not run.snapshots:
        missing.setdefault("snapshots", f"The folder has no {SNAPSHOTS_FOLDER}/: the run recorded no snapshots.")


def _stored_scores(run: RunFolder) -> list[Score]:
    """The evaluations that are stored with a set, which has them also without its run."""
    return [] if run.synthetic is None else scores_of(run.path.name, run.synthetic.scores)


def _with_iterations(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if math.isfinite(number(entry.get("iteration")))]
