"""Continual learning with the set as memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ncfm._utils.checks import check_known
from ncfm._utils.progress import Reporter, Silent
from ncfm._utils.types import LabelledImages
from ncfm.baselines import BY_TEACHERS, SELECTIONS
from ncfm.config.build import build_protocol
from ncfm.config.resolve import Settings
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.evaluation import EvaluationResult
from ncfm.evaluation.continual import ContinualResult, learn_continually
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.workflows.loaded_set import Opened, _no_teachers, _one
from ncfm.workflows.stages import train_teachers


def continual(
    synthetic: SyntheticSet | str | Path,
    on: str | ImageSet | None = None,
    *,
    steps: int = 5,
    methods: Sequence[str] = ("random", "herding"),
    settings: Settings | None = None,
    seed: int | None = None,
    data_dir: str | Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, ContinualResult]:
    """Class-incremental learning with the set as memory, beside selections of real images at the same storage.

    A distilled set was made with teachers that knew all classes, and herding chooses in their features; random images
    owe them nothing. Students learn from hard labels.

    Args:
        synthetic, on, settings, seed, data_dir, reporter: as in `ncfm.evaluate`; ``evaluate.runs`` repetitions, each
            with a class order of its own, the same for all memories.
        steps: in which the classes arrive, as equal as can be.
        methods: memories beside the set, of random, herding, kcenter, kmeans, mosaic, rded.

    Returns:
        By memory, the set's own as "set".

    Raises:
        NcfmError: for unknown methods, or more steps than classes.
    """
    for method in methods:
        check_known(method, SELECTIONS, "memory")
    at = Opened.of(synthetic, on, settings, seed, data_dir)
    reporter = reporter or Silent()
    needs = any(method in BY_TEACHERS for method in methods)
    pool = train_teachers(at.images, at.config, at.machine, reporter) if needs else _no_teachers(at)
    memories = {"set": at.synthetic.decoded()}
    memories |= {method: at.selection(method, at.synthetic.ipc, pool) for method in methods}
    protocol = build_protocol(at.config)
    once = replace(protocol, num_runs=1)
    found = {}
    for name, memory in memories.items():
        done = 0
        reporter.begin(f"{name}, {steps} steps", steps * protocol.num_runs)

        def judge_one(train: LabelledImages, test: ImageSplit, num_classes: int, run: int) -> EvaluationResult:
            nonlocal done
            result = _one(at, train, once, at.config, run, test=test, num_classes=num_classes)
            done += 1
            reporter.update(done)
            return result

        found[name] = learn_continually(
            memory,
            at.images.require_test(),
            num_classes=at.images.num_classes,
            steps=steps,
            runs=protocol.num_runs,
            seed=at.config.seed,
            train_and_test=judge_one,
        )
        reporter.end()
    return found
