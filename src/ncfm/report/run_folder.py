"""Lenient reading of a run folder: missing or damaged files become sentences instead of errors."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from torch import Tensor

from ncfm._utils.checks import InputError, NcfmError
from ncfm._utils.files import read_json
from ncfm._utils.types import Statistics
from ncfm.config.keys import dotted, parse_setting
from ncfm.config.layers import make_config
from ncfm.config.resolve import FINGERPRINT
from ncfm.config.schema import RunConfig
from ncfm.distillation.checkpoint import CHECKPOINT_FILE
from ncfm.distillation.history import DIAGNOSIS_FILE, METRICS_FILE, read_lines
from ncfm.distillation.snapshots import SNAPSHOTS_FOLDER, Snapshot, read_snapshots
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.synthetic.storage import CONFIG_FILE, FACTS_FILE, SCORES_FILE, SET_FOLDER, load, no_set, read_scores
from ncfm.synthetic.synthetic_set import SyntheticSet

COMPARISON_FILE = "comparison.json"  # of `ncfm compare`, in the folder above its runs

T = TypeVar("T")


@dataclass(frozen=True)
class Score:
    """An evaluation, of `ncfm.workflows.evaluating.scores`; accuracies are fractions."""

    name: str  # of the set
    network: str
    protocol: str
    mean: float
    std: float
    low: float | None
    high: float | None
    accuracies: tuple[float, ...] = ()
    per_class: tuple[float, ...] = ()  # NaN for a class without test images
    confusion: tuple[tuple[float, ...], ...] = ()
    calibration_error: float = math.nan
    num_images: int | None = None
    seconds: float = math.nan

    @property
    def setup(self) -> tuple[str, str]:
        """Network and protocol, which have to agree for a comparison."""
        return self.network, self.protocol


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
    run.data = run.data or _text(run.facts.get("data"))
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
        run.data, run.stored = _text(found.get("data")), found.get("config") or {}
        run.fingerprint = _text(found.get(FINGERPRINT))
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


def read_own_scores(path: Path, name: str = "") -> list[Score]:
    """The evaluations of a run folder that have an accuracy."""
    return _with_accuracy(name or path.name, read_scores(path / SCORES_FILE))


def _stored_scores(run: RunFolder) -> list[Score]:
    """The evaluations that are stored with a set, which has them also without its run."""
    return [] if run.synthetic is None else _with_accuracy(run.path.name, run.synthetic.scores)


def _with_accuracy(name: str, entries: Sequence[Mapping[str, Any]]) -> list[Score]:
    return [score for score in (_score(name, entry) for entry in entries) if score is not None]


def read_comparison(path: Path) -> list[Score]:
    """The other methods of the comparison that a run belongs to; several seeds of a method are combined.

    Raises:
        NcfmError: if the file is damaged.
    """
    file = path.resolve().parent / COMPARISON_FILE
    if not file.is_file():
        return []
    rows = read_json(file)
    if not isinstance(rows, list):
        raise InputError(f"{COMPARISON_FILE} is not a list of results.")
    groups: dict[tuple[str, str, str], list[Score]] = {}
    for row in rows:
        found = _score(str(row.get("name", "")), row) if isinstance(row, dict) else None
        if found is not None and found.name != path.resolve().name:
            groups.setdefault((found.name, *found.setup), []).append(found)
    return [_over_seeds(group) for group in groups.values()]


def _over_seeds(group: Sequence[Score]) -> Score:
    if len(group) == 1:
        return group[0]
    spread = accuracy_interval([score.mean for score in group])
    first = group[0]
    return Score(first.name, first.network, first.protocol, spread.mean, spread.std, spread.low, spread.high)


def _score(name: str, entry: Mapping[str, Any]) -> Score | None:
    mean = _number(entry.get("accuracy_mean"))
    if not math.isfinite(mean):
        return None
    low, high = (_number(entry.get(f"accuracy_{end}")) for end in ("low", "high"))
    known = math.isfinite(low) and math.isfinite(high)
    counts = _list(entry.get("confusion"))
    confusion = tuple(tuple(map(_number, row)) for row in counts) if _is_square(counts) else ()
    return Score(
        name=name,
        network=str(entry.get("network", "?")),
        protocol=str(entry.get("protocol", "?")),
        mean=mean,
        std=_number(entry.get("accuracy_std")),
        low=low if known else None,
        high=high if known else None,
        accuracies=tuple(map(_number, _list(entry.get("accuracies")))),
        per_class=tuple(map(_number, _list(entry.get("per_class")))),
        confusion=confusion,
        calibration_error=_number(entry.get("calibration_error")),
        num_images=entry["num_images"] if isinstance(entry.get("num_images"), int) else None,
        seconds=_number(entry.get("seconds")),
    )


def settings_table(run: RunFolder) -> list[tuple[str, str, bool]]:
    """All settings as text, and whether they differ from the defaults."""
    if run.config is None:
        return [(key, str(value), False) for key, value in _flat(run.stored)]
    defaults = dotted(RunConfig())
    return [(key, setting_text(value), value != defaults.get(key)) for key, value in dotted(run.config).items()]


def setting_text(value: Any) -> str:
    """A setting in the syntax of ``--set``."""
    if value is None:
        return "none"
    is_plain = isinstance(value, str) and parse_setting(f"key={value}") == ("key", value)
    return value if is_plain else json.dumps(value)  # a string that reads as a number is quoted


def _flat(nested: Mapping[str, Any], place: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in nested.items():
        found += _flat(value, f"{place}{key}.") if isinstance(value, dict) else [(f"{place}{key}", value)]
    return found


def _with_iterations(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in entries if math.isfinite(_number(entry.get("iteration")))]


def _number(value: Any) -> float:
    """A number from a file; NaN for anything else."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _is_square(rows: list[Any]) -> bool:
    return all(isinstance(row, list) and len(row) == len(rows) for row in rows)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
