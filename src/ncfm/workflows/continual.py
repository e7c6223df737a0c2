"""Continual learning with the distilled set as memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ncfm._utils.checks import check_known
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.types import LabelledImages
from ncfm.baselines import BY_TEACHERS, SELECTIONS
from ncfm.config.build import build_protocol
from ncfm.config.resolve import Settings
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation.continual import ContinualResult, learn_continually, step_sizes
from ncfm.results.checking import check_results
from ncfm.results.files import append_rows
from ncfm.results.rows import ContinualRow
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.checks import check_selections, check_students
from ncfm.workflows.loaded_set import LoadedSet


def continual(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    steps: int = 5,
    methods: Sequence[str] = ("random", "herding"),
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    changed_data: bool = False,
    results: str | Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, ContinualResult]:
    """Class-incremental learning with the set as memory, next to selections of real images at the same storage.

    A distilled set and a herding selection depend on teachers that were trained on all classes; random images do not.
    Students learn from hard labels.

    Args:
        synthetic, on, settings, seed, data_dir, changed_data, reporter: as in `ncfm.evaluate`; ``evaluate.runs``
            repetitions, each with its own class order, which all memories share.
        steps: steps in which the classes arrive, as equal as possible.
        methods: memories to compare with: random, herding, kcenter, kmeans, mosaic, rded.
        results: CSV file to which a row per memory and step is appended.

    Returns:
        The result of every memory by name; that of the set is "set".

    Raises:
        NcfmError: for unknown methods, or more steps than classes.

    >>> found = continual("runs/digits-ipc1", steps=5)  # doctest: +SKIP
    >>> found["set"].average.mean > found["random"].average.mean  # doctest: +SKIP
    """
    for method in methods:
        check_known(method, SELECTIONS, "memory")
    check_results(results, ContinualRow)
    loaded = LoadedSet.open(synthetic, on, settings, seed, data_dir, changed_data)
    step_sizes(loaded.images.num_classes, steps)
    check_students(loaded.images, loaded.config)
    check_selections(loaded.images, methods, loaded.synthetic.per_class, loaded.config.distill.factor)
    reporter = reporter or Silent()
    pool = loaded.teachers(any(method in BY_TEACHERS for method in methods), reporter)
    memories = {"set": loaded.synthetic.decoded()}
    memories |= {method: loaded.selection(method, loaded.synthetic.per_class, pool) for method in methods}
    found = {name: _learn(loaded, name, memory, steps, reporter) for name, memory in memories.items()}
    if results is not None:
        append_rows(Path(results), _rows(loaded, found, steps))
    return found


def _learn(loaded: LoadedSet, name: str, memory: LabelledImages, steps: int, reporter: Reporter) -> ContinualResult:
    """Learn from one memory."""
    protocol = build_protocol(loaded.config)
    once = replace(protocol, num_runs=1)
    done = 0
    reporter.begin(f"memory {name}", steps * protocol.num_runs, unit="student")

    def train_one(train: LabelledImages, test: ImageSplit, num_classes: int, run: int) -> EvaluationResult:
        nonlocal done
        result = loaded.train_student(train, once, loaded.config, run, test=test, num_classes=num_classes)
        done += 1
        reporter.update(done)
        return result

    result = learn_continually(
        memory,
        loaded.images.require_test(),
        num_classes=loaded.images.num_classes,
        steps=steps,
        runs=protocol.num_runs,
        seed=loaded.config.seed,
        train_and_test=train_one,
    )
    reporter.end()
    return result


def _rows(loaded: LoadedSet, found: Mapping[str, ContinualResult], steps: int) -> list[ContinualRow]:
    """The results rows of all memories."""
    facts: dict[str, Any] = loaded.row_facts() | {
        "network": loaded.config.evaluate.network,
        "protocol": build_protocol(loaded.config).name,
        "steps": steps,
    }
    return [
        ContinualRow(
            memory=memory,
            classes_seen=seen,
            accuracy_mean=point.mean,
            accuracy_std=point.std,
            accuracy_low=point.low,
            accuracy_high=point.high,
            num_runs=len(of_runs),
            **facts,
        )
        for memory, result in found.items()
        for seen, point, of_runs in zip(result.classes_seen, result.curve, result.accuracies, strict=True)
    ]
