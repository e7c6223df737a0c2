"""The ledger: published sets re-evaluated under one protocol, next to their published numbers and to real images."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from ncfm._utils.checks import InputError, check_known
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.seeding import generator
from ncfm._utils.types import Interval
from ncfm.baselines import select
from ncfm.config.build import build_protocol
from ncfm.config.keys import nest
from ncfm.config.layers import make_config
from ncfm.config.resolve import Settings
from ncfm.config.schema import EvaluateConfig, RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.data.split_names import shortened
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation.protocols import get_protocol
from ncfm.results.checking import check_results
from ncfm.results.files import Conditions, append_rows, read_rows
from ncfm.results.ledger_entries import LedgerEntry, missing_of, read_entries
from ncfm.results.published import published as published_by_ncfm
from ncfm.results.rows import LedgerRow
from ncfm.synthetic.counts import Ipc, mean_of
from ncfm.synthetic.soft_labels import SoftTargets, StudentTargets, TeacherTargets
from ncfm.synthetic.storage import load
from ncfm.workflows.evaluate import evaluate
from ncfm.workflows.evaluating import evaluate_images
from ncfm.workflows.preparation import prepare, train_teachers

BASELINES = ("random", "herding")
PROTOCOL = "dsa-2021"
# Herding needs features, and a short training gives them; the recipe of a set may have teachers for days.
TEACHERS = {"teachers.number": 1, "teachers.epochs": 4}


def ledger(
    folder: str | Path,
    *,
    entries: str | Path | None = None,
    only: Sequence[str] = (),
    settings: Settings | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> list[LedgerRow]:
    """Evaluate all sets of a folder again: new students on each, and on random and herded images at the same storage.

    All sets are evaluated alike, by last-epoch accuracy: the protocol ``dsa-2021`` and the ConvNet for the image size,
    unless the settings say otherwise. A set with soft labels is evaluated with them.

    Args:
        folder: with published sets, and sets of ncfm.
        entries: file that describes them, see `ncfm.results.ledger_entries`; default ``ledger.toml`` in the folder.
        only: names of some of the sets; default all.
        settings: such as ``{"evaluate.epochs": 300, "evaluate.runs": 3}``.
        seed: of the students and of the selections.
        data_dir, reporter: as in `distill`.
        results: a CSV file to which a row for each set is appended when it is finished. Sets that it already has, with
            the same content, protocol, runs and seed, are not evaluated again.

    Returns:
        The new rows.

    Raises:
        NcfmError: for entries that are missing or wrong, and sets that cannot be read.
    """
    check_results(results, LedgerRow)
    found, others = read_entries(Path(folder), None if entries is None else Path(entries))
    for name in missing_of(found, only):
        raise InputError(f"{folder} has no set {name!r}; its sets are {', '.join(e.path.name for e in found)}.")
    if others:
        warnings.warn(f"{folder}: left out, since they have no entry: {shortened(others)}.", stacklevel=2)
    for entry in found:
        labels_of(entry)  # before the first set is evaluated
    evaluator = _Evaluator(_same_for_all(settings or {}), seed, data_dir, reporter or Silent())
    rows = []
    for entry in found:
        if only and entry.path.name not in only:
            continue
        if entry.left_out:
            warnings.warn(f"{entry.path.name}: left out. {entry.left_out}", stacklevel=2)
            continue
        if results is not None and evaluator.has_row(entry, Path(results)):
            continue
        rows.append(evaluator.row(entry))
        if results is not None:
            append_rows(Path(results), rows[-1:])
    return rows


def _same_for_all(settings: Settings) -> dict[str, Any]:
    """The settings with all of the protocol's own, so that no set brings others from its recipe."""
    protocol = get_protocol(settings.get("evaluate.protocol", PROTOCOL))
    return {
        "evaluate.protocol": protocol.name,
        "evaluate.network": "convnet",
        "evaluate.epochs": protocol.recipe.epochs,
        "evaluate.augment": protocol.recipe.augment,
        "evaluate.runs": protocol.num_runs,
        "evaluate.looks": protocol.looks,
        "evaluate.labels": "auto",
        "evaluate.temperature": 1.0,
        "evaluate.soft_weight": 1.0,
        **settings,
    }


@dataclass(frozen=True)
class _Evaluator:
    """How every set of a ledger is evaluated."""

    settings: Settings
    seed: int
    data_dir: str | Path | None
    reporter: Reporter

    def config(self, of_data: Settings) -> RunConfig:
        """The configuration for data that are read by these settings."""
        return make_config(nest({**TEACHERS, **of_data, **self.settings}), {"seed": self.seed})

    def row(self, entry: LedgerEntry) -> LedgerRow:
        """Evaluate a set and its baselines."""
        own = load(entry.path) if entry.is_own else None
        facts = {} if own is None else own.facts
        data = entry.on or facts.get("data")
        if data is None:
            raise InputError(
                f"{entry.path.name}: its entry must name the data that it was made from, as on = 'cifar10'."
            )
        chosen = {} if entry.labels is None else {"evaluate.labels": entry.labels}
        result = evaluate(
            entry.path if own is None else own,
            data,
            settings={**self.settings, **chosen},
            seed=self.seed,
            data_dir=self.data_dir,
            normalized_by=entry.normalized_by,
            factor=entry.factor,
            changed_data=True,  # a warning tells; the test split, which all sets share, is what counts here
            reporter=self.reporter,
        )
        of_data = {f"data.{key}": value for key, value in facts.get("config", {}).get("data", {}).items()}
        config = self.config({key: value for key, value in of_data.items() if key != "data.zca"})
        images, machine = prepare(data, config, self.data_dir)
        stored = result.num_images if result.num_stored is None else result.num_stored
        ipc: Ipc = max(round(stored / images.num_classes), 1) if own is None else own.per_class
        baselines = {method: self.baseline(method, images, config, machine, ipc) for method in BASELINES}
        network = config.evaluate.network
        paper = published_by_ncfm(data, ipc if isinstance(ipc, int) else None, network)
        conditions = asdict(Conditions.here(machine.device))
        del conditions["peak_memory_mb"]
        return LedgerRow(
            name=entry.path.name,
            content=content_of(entry.path),
            dataset=data,
            ipc=mean_of(ipc),
            method=entry.method or facts.get("method", ""),
            normalized_by=entry.normalized_by or "",
            published=entry.published if own is None else entry.published or paper,
            network=network,
            protocol=result.protocol,
            num_runs=len(result.accuracies),
            num_images=result.num_images,
            **_columns("accuracy", result.interval),
            **_columns("random", baselines["random"].interval),
            **_columns("herding", baselines["herding"].interval),
            seconds=result.seconds + sum(baseline.seconds for baseline in baselines.values()),
            source=entry.source,
            note=entry.note,
            seed=self.seed,
            **conditions,
        )

    def baseline(self, method: str, images: ImageSet, config: RunConfig, machine: Any, ipc: Ipc) -> EvaluationResult:
        """Students of real images, as many as a set stores."""
        pool = train_teachers(images, config, machine, self.reporter) if method == "herding" else None
        rng = generator(self.seed, method)
        picked = select(method, images, pool, ipc=ipc, factor=1, generator=rng).decoded()
        return evaluate_images(picked, images, config, machine, f"students of {method} images", self.reporter)

    def has_row(self, entry: LedgerEntry, results: Path) -> bool:
        """Whether a results file has this set, evaluated in this way."""
        if not results.is_file():
            return False
        config = self.config({})
        protocols = _protocol_names(config, labels_of(entry) or config.evaluate.labels)
        wanted = {
            "content": content_of(entry.path),
            "normalized_by": entry.normalized_by or "",
            "network": config.evaluate.network,
            "num_runs": str(build_protocol(config).num_runs),
            "seed": str(self.seed),
        }
        return any(
            row["protocol"] in protocols and all(row[key] == value for key, value in wanted.items())
            for row in read_rows(results)
        )


def labels_of(entry: LedgerEntry) -> str | None:
    """What students learn from, if the entry says it.

    Raises:
        InputError: for another word than the setting ``evaluate.labels`` takes.
    """
    known = get_args(EvaluateConfig.model_fields["labels"].annotation)
    return None if entry.labels is None else check_known(entry.labels, known, f"labels of {entry.path.name}")


def _protocol_names(config: RunConfig, labels: str) -> list[str]:
    """The names that the protocol of a set may have: labels other than hard ones are part of it."""
    e = config.evaluate
    soft = SoftTargets(torch.empty(0), e.soft_weight, e.temperature)
    asked = TeacherTargets(lambda inputs: inputs, "", e.soft_weight, e.temperature)
    used: dict[str, list[StudentTargets | None]] = {
        "hard": [None],
        "soft": [soft],
        "auto": [None, soft],
        "teacher": [asked],
    }
    return [build_protocol(config, targets).name for targets in used[labels]]


def _columns(name: str, found: Interval) -> dict[str, Any]:
    """The columns of an accuracy: mean, standard deviation, and 95 % interval of the mean."""
    return {f"{name}_mean": found.mean, f"{name}_std": found.std, f"{name}_low": found.low, f"{name}_high": found.high}


def content_of(path: Path) -> str:
    """SHA-256 (12 hex digits) of a file, or of the files of a folder with their names."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file()):
        digest.update(f"{file.relative_to(path.parent)}\n".encode())
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
