"""The stages of a run, between its configuration and its folder, shared by the front functions."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.device import describe_device
from ncfm._utils.distributed import Ranks
from ncfm._utils.files import write_json
from ncfm._utils.progress import Reporter
from ncfm._utils.types import LabelledImages, Statistics
from ncfm.config.build import build_data, build_machine, build_protocol, check_soft_labels
from ncfm.config.keys import dotted
from ncfm.config.loops import loop_of
from ncfm.config.methods import usual_method
from ncfm.config.more_iterations import RAISED_AT, raised_at, suffix_of_variant
from ncfm.config.pools import TEACHERS, P, PoolSource
from ncfm.config.resolve import FINGERPRINT, NUMERICS, data_folder, describe_run, variant_of
from ncfm.config.schema import RunConfig
from ncfm.data.fitting import LARGEST_SIDE
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.distillation import DistillResult
from ncfm.distillation.checkpoint import has_checkpoint
from ncfm.distillation.control import RunControl
from ncfm.evaluation import EvaluationResult, StudentCache, students_key
from ncfm.evaluation import Protocol as EvaluationProtocol
from ncfm.evaluation import evaluate as evaluate_tensors
from ncfm.networks.registry import is_own
from ncfm.results.files import Conditions, code_version, command_line, library_versions
from ncfm.synthetic.counts import Spec, counts_for
from ncfm.synthetic.image_grid import save_image_grid
from ncfm.synthetic.soft_labels import StudentTargets
from ncfm.synthetic.storage import CONFIG_FILE, SET_FOLDER, save, set_scores_aside
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool
from ncfm.workflows.changed_data import fingerprint_of_run
from ncfm.workflows.extension import read_earlier

PICTURE_FILE = "images.png"


def prepare(data: str | ImageSet, config: RunConfig, data_dir: str | Path | None) -> tuple[ImageSet, Compute]:
    """The real set, and where to compute."""
    code_version()  # cached now: the version of the code as loaded, even if its files change during the run
    # One rank after the other: what the first one decodes, the others find in the cache.
    images: ImageSet = Ranks.here().main_process_first(lambda: build_data(data, config, data_dir))
    _check(images, config)
    if images.problems:
        more = f", and {len(images.problems) - 3} more (ncfm data lists all)" if len(images.problems) > 3 else ""
        warnings.warn(f"{images.name}: {'; '.join(images.problems[:3])}{more}", stacklevel=2)
    networks = (config.teachers.network, config.evaluate.network)
    return images, build_machine(config.machine, images.image_size, networks)


def _check(images: ImageSet, config: RunConfig) -> None:
    """Check what the data decide, before anything is trained."""
    check_soft_labels(config, images.num_classes)
    if images.image_size > LARGEST_SIDE:
        raise InputError(
            f"{images.name}: expected images of at most {LARGEST_SIDE} px, got {images.image_size}: a single one takes "
            "gigabytes in a network. Choose a size, such as --set data.image_size=128."
        )


def obtain(source: PoolSource[P], images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter) -> P:
    """The networks of a source, trained or from the cache, with their progress."""
    if not source.is_trained:
        return source.obtain(images, config, machine)
    epochs = source.recipe(config).epochs
    count = source.count(config)

    def report(index: int, epoch: int) -> None:
        note = f"{source.name.removesuffix('s')} {index + 1} of {count}" if count > 1 else ""
        reporter.update(index * epochs + epoch, note)

    reporter.begin(source.name, epochs * count, unit="epoch")
    networks = source.obtain(images, config, machine, on_epoch=report)
    source.measure(networks, images)
    reporter.end()
    return networks


def train_teachers(images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter) -> TeacherPool:
    """The pool of teachers, trained or from the cache."""
    return obtain(TEACHERS, images, config, machine, reporter)


def train_pool(images: ImageSet, config: RunConfig, machine: Compute, reporter: Reporter) -> Any:
    """The networks that the objective needs, after its settings were checked."""
    loop = loop_of(config)
    loop.check(images, config, machine)
    return obtain(loop.needs(config), images, config, machine, reporter)


def distill_into(
    images: ImageSet,
    pool: Any,
    config: RunConfig,
    machine: Compute,
    *,
    ipc: Spec,
    folder: Path | None,
    resume: bool,
    reporter: Reporter,
    stage: str = "distilling",
    method: str | None = None,
    variant: str | None = None,
    choices: Mapping[str, Any] = MappingProxyType({}),
) -> DistillResult:
    """Distil and write the set and its picture.

    ``pool`` are the networks that the objective needs, see `train_pool`. ``method`` and ``variant`` are recorded in
    the set; by default they follow from the objective and the settings. ``choices`` are the settings that were chosen
    for the data, as facts.
    """
    # As the first rank sees it: the others may read the folder earlier or later.
    resume = machine.ranks.gather_objects(resume and folder is not None and has_checkpoint(folder))[0]
    described = _describe(images, config, machine, ipc, folder, resume, choices)
    budget = config.distill.seconds
    if budget is None:
        reporter.begin(stage, config.distill.iterations, unit="iteration")
    else:
        reporter.begin(stage, math.ceil(budget), unit="second")
    control = RunControl(
        folder=folder,
        resume=resume,
        on_iteration=lambda i, metrics: reporter.update(
            i if budget is None else min(int(metrics["seconds"]), math.ceil(budget)), _note(metrics)
        ),
    )
    counts, earlier = counts_for(ipc, images.train.counts), read_earlier(config.distill, images)
    result = loop_of(config).run(images, pool, config, machine, ipc=counts, control=control, extend=earlier)
    reporter.end()
    facts = (
        described
        | data_folder(images.name)
        | {
            "training_images": len(images.train),
            "data_problems": list(images.problems),
            "method": method or usual_method(config.objective.name).name,
            "variant": (_variant(images, ipc, config, described.get(RAISED_AT, [])) if variant is None else variant),
            "iterations": result.iterations,
            "teacher_seconds": round(pool.seconds, 3),
            **({"teacher_accuracies": list(pool.accuracies)} if pool.accuracies else {}),
            "distill_seconds": round(result.seconds, 3),
            "distill_memory_mb": round(result.peak_memory_mb, 1),
            "command": command_line(),
            "code": code_version(),
            "versions": library_versions(),
            "device": describe_device(machine.device),
        }
    )
    result = replace(result, synthetic=replace(result.synthetic, facts=facts))
    if folder is not None:
        machine.ranks.on_main_process(lambda: _write(result.synthetic, folder))
    return result


def _describe(
    images: ImageSet,
    config: RunConfig,
    machine: Compute,
    ipc: Spec,
    folder: Path | None,
    resume: bool,
    choices: Mapping[str, Any],
) -> dict[str, Any]:
    """What a run is, its data, the choices for them, and when it got more iterations; written to its folder.

    A resumed run keeps the fingerprint that is recorded, also if none is: the data of its first iterations count.
    """
    found = images.fingerprint if folder is None or not resume else fingerprint_of_run(folder)
    fingerprint = machine.ranks.gather_objects(found)[0]
    described = describe_run(images.name, ipc, config) | ({} if fingerprint is None else {FINGERPRINT: fingerprint})
    raised = raised_at(folder, CONFIG_FILE, config) if folder is not None and resume else []
    described |= ({RAISED_AT: raised} if raised else {}) | dict(choices)
    if folder is not None:
        machine.ranks.on_main_process(lambda: write_json(folder / CONFIG_FILE, described))
    return described


def _versions() -> str:
    """Versions of Python and the numerical libraries, as a cell of a table."""
    return " ".join(f"{name}={version}" for name, version in library_versions().items())


def _variant(images: ImageSet, ipc: Spec, config: RunConfig, raised: list[int]) -> str:
    """The variant of a run, which may have unequal classes, and have been given more iterations."""
    counts = counts_for(ipc, images.train.counts)
    asked = counts if isinstance(counts, int) else ipc  # equal classes are one number
    return ",".join(filter(None, [variant_of(images.name, asked, config), suffix_of_variant(raised, config)]))


def _write(synthetic: SyntheticSet, folder: Path) -> None:
    """The set and its picture."""
    set_scores_aside(synthetic, folder)
    save(synthetic, folder / SET_FOLDER)
    save_image_grid(folder / PICTURE_FILE, synthetic.images, synthetic.class_names, counts=synthetic.counts)


def _note(metrics: Mapping[str, float]) -> str:
    """The loss of an iteration with its time and memory, to be shown next to the progress."""
    name = "discrepancy" if "discrepancy" in metrics else "gap"
    note = f"{name} {metrics[name]:.4f}"
    if "seconds_per_iteration" in metrics:  # there are none before the first metrics
        note += f", {metrics['seconds_per_iteration']:.3g} s/it, {metrics['memory_mb']:.0f} MiB"
    return note


def evaluate_images(
    train: LabelledImages,
    images: ImageSet,
    config: RunConfig,
    machine: Compute,
    stage: str,
    reporter: Reporter,
    *,
    soft: StudentTargets | None = None,
    protocol: EvaluationProtocol | None = None,
    fresh: bool = False,
) -> EvaluationResult:
    """Train and test the students of one set, or find them in the cache.

    Args:
        train: the set.
        images: the real data.
        config, machine: how.
        stage, reporter: name of the progress, and what shows it.
        soft: soft labels to learn from, or teachers that label every batch.
        protocol: in place of the configured one.
        fresh: train all students, also those in the cache.
    """
    protocol = build_protocol(config, soft) if protocol is None else protocol
    reporter.begin(stage, protocol.recipe.epochs * protocol.num_runs, unit="epoch")
    result = train_students(
        train,
        images.require_test(),
        num_classes=images.num_classes,
        statistics=images.statistics,
        protocol=protocol,
        config=config,
        machine=machine,
        soft=soft,
        fresh=fresh,
        on_epoch=reporter.update,
    )
    reporter.end()
    return result


def train_students(
    train: LabelledImages,
    test: ImageSplit,
    *,
    num_classes: int,
    statistics: Statistics,
    protocol: EvaluationProtocol,
    config: RunConfig,
    machine: Compute,
    seed: int | None = None,
    soft: StudentTargets | None = None,
    fresh: bool = False,
    on_epoch: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """`ncfm.evaluation.evaluate` on the machine, with the cache of students; every student has its conditions."""
    network = config.evaluate.network
    determined: dict[str, Any] = {
        "statistics": statistics,
        "protocol": protocol,
        "network": network,
        "seed": config.seed if seed is None else seed,
        "soft": soft,
    }

    def conditions() -> dict[str, Any]:
        return asdict(Conditions.here(machine.device)) | {"versions": _versions()}

    cache = None
    if is_own(network):  # the name of a network from outside may mean other code tomorrow
        numerics = {key: value for key, value in dotted(config).items() if key in NUMERICS}
        cache = StudentCache(
            students_key(train, test, numerics=repr(numerics), **determined), describe=conditions, reuse=not fresh
        )
    result = evaluate_tensors(
        train,
        test,
        num_classes=num_classes,
        compute=machine,
        cache=cache,
        on_epoch=on_epoch,
        **determined,
    )
    # The cache records the conditions of each student when it is trained; without one it was now.
    students = (replace(one, conditions=one.conditions or conditions()) for one in result.students)
    return replace(result, students=tuple(students))


def scores(evaluation: EvaluationResult) -> dict[str, Any]:
    """An evaluation as plain numbers for JSON."""
    spread = evaluation.interval
    return {
        "accuracy_mean": spread.mean,
        "accuracy_std": spread.std,
        "accuracy_low": None if math.isnan(spread.low) else spread.low,
        "accuracy_high": None if math.isnan(spread.high) else spread.high,
        "accuracy_best_mean": evaluation.accuracy_best_mean,
        "accuracies": list(evaluation.accuracies),
        "network": evaluation.network,
        "protocol": evaluation.protocol,
        "epochs": evaluation.epochs,
        "num_images": evaluation.num_images,
        "per_class": [None if math.isnan(v) else v for v in evaluation.per_class],
        "calibration_error": evaluation.calibration_error.mean,
        "confusion": evaluation.confusion.tolist(),
        "seconds": round(evaluation.seconds, 3),
    }
