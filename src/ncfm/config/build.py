"""From configuration to objects: the only place where names become things, with flat keyword arguments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ncfm import kernels
from ncfm._utils.checks import NcfmError
from ncfm._utils.device import allow_tf32, choose_compiled, choose_device, choose_precision, keep_freed_memory
from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.files import content_hash
from ncfm._utils.seeding import generator
from ncfm._utils.types import Images
from ncfm.baselines.rded import rded
from ncfm.config.schema import DistillConfig, FrequenciesConfig, MachineConfig, RunConfig
from ncfm.data.image_set import ImageSet, carve_validation, with_test_split
from ncfm.data.sources import load_images
from ncfm.discrepancy.frequencies import (
    DirectFrequencies,
    FrequencySampler,
    GaussianFrequencies,
    ScaleMixtureFrequencies,
    StudentTFrequencies,
)
from ncfm.distillation import DistillResult, StartRange, check_epochs, distill, distill_trajectories
from ncfm.distillation.loggers import import_logger, make_logger
from ncfm.distillation.objectives import (
    CharacteristicMatching,
    CovarianceMatching,
    KernelMatching,
    MeanMatching,
    Objective,
    PointMatching,
)
from ncfm.evaluation import Protocol, get_protocol
from ncfm.synthetic.soft_labels import SoftLabels, SoftTargets, StudentTargets, TeacherTargets
from ncfm.synthetic.storage import load
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.experts import ExpertPool, record_experts
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import TeacherPool, pretrain


class Machine(NamedTuple):
    """Where and how to compute."""

    device: torch.device
    precision: torch.dtype
    compile_networks: bool
    compile_step: bool
    chunk_size: int
    side_by_side: bool  # students
    ranks: Ranks = ALONE  # who shares the work


def build_machine(config: MachineConfig, image_size: int) -> Machine:
    """Device, precision and compilation for images of this size."""
    if config.log is not None:
        import_logger(config.log)  # told now, not after the teachers
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    kernels.enable(config.kernels != "off")
    ranks = Ranks.here()
    device = ranks.own_device(choose_device(config.device))
    if device.type == "cuda":
        allow_tf32(config.tf32)
    if device.type == "cpu":
        keep_freed_memory()
    # On a CPU 64 images of 32 px keep a layer's activations in the last-level cache; a GPU wants large passes.
    chunk_size = config.chunk_size or (64 if device.type == "cpu" else 2048)
    choice = "on" if config.compile == "step" else config.compile
    may_compile = choose_compiled(choice, device, image_size)
    precision = choose_precision(config.precision, device, compiled=may_compile)
    # Own kernels need no warm-up and beat compiled operators; they are switched off inside compiled code.
    own_kernels = device.type == "cpu" and precision == torch.float32 and kernels.available()
    compiling = may_compile and not (own_kernels and choice == "auto")
    whole = compiling and config.compile == "step"
    # On a CPU a student keeps all cores busy by itself, and the stacked pass cannot use the kernels.
    side_by_side = device.type == "cuda" if config.students == "auto" else config.students == "together"
    return Machine(device, precision, compiling, whole, chunk_size, side_by_side, ranks)


def build_data(data: str | ImageSet, config: RunConfig, data_dir: str | Path | None = None) -> ImageSet:
    """The real set; with a validation share its test split is replaced by that part of the training split."""
    images = data
    if isinstance(images, str):
        images = load_images(
            images,
            data_dir=data_dir,
            image_size=config.data.image_size,
            channels=config.data.channels,
            max_unreadable=config.data.max_unreadable,
        )
    if images.test is None:
        images = with_test_split(images, config.data.test_fraction)
    if config.data.validation is not None:
        # Not the run's seed: every run and every evaluation must hold out the same images.
        rest, held = carve_validation(images.train, config.data.validation, generator(0, "validation"))
        images = replace(images, name=f"{images.name}@validation", train=rest, test=held)
    return replace(images, whitened=True) if config.data.zca else images


def build_teacher_recipe(config: RunConfig) -> TrainingRecipe:
    """How teachers are trained."""
    t = config.teachers
    return TrainingRecipe(
        epochs=t.epochs,
        optimizer=t.optimizer,
        lr=t.lr,
        batch_size=t.batch_size,
        schedule=t.schedule,
        augment=t.augment,
        cutmix_probability=t.cutmix,
    )


def build_teachers(
    images: ImageSet,
    config: RunConfig,
    machine: Machine,
    on_epoch: Callable[[int, int], None] | None = None,
) -> TeacherPool:
    """The pool of teachers, from the cache where possible."""
    return pretrain(
        images,
        network=config.teachers.network,
        num_teachers=config.teachers.number,
        recipe=build_teacher_recipe(config),
        seed=config.seed if config.teachers.seed is None else config.teachers.seed,
        device=machine.device,
        precision=machine.precision,
        compile_networks=machine.compile_networks,
        on_epoch=on_epoch,
        ranks=machine.ranks,
    )


def build_starts(config: RunConfig) -> StartRange:
    """Where students of trajectory matching start; for DATM a range that grows."""
    t = config.trajectory
    if config.objective.name != "datm":
        return StartRange(t.start_low, t.start_high)
    first = t.start_high // 2 if t.start_first_high is None else t.start_first_high
    return StartRange(t.start_low, t.start_high, max(first, t.start_low), t.start_growth)


def build_experts(
    images: ImageSet,
    config: RunConfig,
    machine: Machine,
    on_epoch: Callable[[int, int], None] | None = None,
) -> ExpertPool:
    """The experts whose trajectories are matched, from the cache where possible.

    Raises:
        NcfmError: if students are to start so late that they have no target; told before minutes of training.
    """
    t = config.trajectory
    check_epochs(build_starts(config), t.matched_epochs, t.epochs)
    recipe = TrainingRecipe(
        epochs=t.epochs,
        optimizer="sgd",
        lr=t.lr,
        batch_size=t.batch_size,
        schedule="constant",
        augment=t.augment,
        momentum=0.0,
        weight_decay=0.0,
    )
    return record_experts(
        images,
        network=config.teachers.network,
        num_experts=t.experts,
        recipe=recipe,
        seed=config.seed if config.teachers.seed is None else config.teachers.seed,
        device=machine.device,
        precision=machine.precision,
        compile_networks=machine.compile_networks,
        on_epoch=on_epoch,
    )


def build_sampler(config: FrequenciesConfig, num_features: int, seed: int) -> FrequencySampler:
    """The sampler of frequencies by family."""
    if config.family == "gaussian":
        return GaussianFrequencies(num_features, config.number, scale=config.scale)
    if config.family == "student":
        return StudentTFrequencies(
            num_features, config.number, scale=config.scale, degrees_of_freedom=config.degrees_of_freedom
        )
    learned = DirectFrequencies if config.family == "direct" else ScaleMixtureFrequencies
    return learned(
        num_features,
        config.number,
        scale=config.scale,
        spread=config.spread,
        fixed_bandwidth=config.fixed_bandwidth,
        seed_generator=generator(seed, "adversary"),
    )


def build_objective(config: RunConfig, num_features: int, num_classes: int) -> Objective:
    """The objective by name."""
    o = config.objective
    if o.name == "mean":
        return MeanMatching()
    if o.name == "mse":
        return PointMatching()
    if o.name == "mmd":
        return KernelMatching(o.bandwidths, factors=o.bandwidth_factors)
    if o.name == "dsdm":
        return CovarianceMatching(
            num_classes,
            num_features,
            covariance_weight=o.covariance_weight,
            history_weight=o.history_weight,
            decay=o.history_decay,
        )
    return CharacteristicMatching(
        build_sampler(config.frequencies, num_features, config.seed),
        amplitude_weight=o.amplitude_weight,
        corrected=o.corrected,
        gradient_rows=o.gradient_rows,
    )


def build_soft_labels(config: RunConfig, pool: TeacherPool, images: Images) -> SoftLabels | None:
    """What the teachers say of the decoded images of a set, if the configuration wants it stored."""
    if config.labels.kind == "hard":
        return None
    said = pool.log_probabilities(images)
    return SoftLabels.of(said, top_k=config.labels.top_k, precision=config.labels.precision)


def build_targets(
    config: RunConfig, labels: SoftLabels | None, pool: TeacherPool | None = None
) -> StudentTargets | None:
    """How students learn from a set's soft labels, or from the pool's trained teachers; None for hard labels.

    Raises:
        NcfmError: if soft labels are asked for and the set has none, or teachers and there is no pool.
    """
    e = config.evaluate
    if e.labels == "teacher":
        if pool is None:
            raise NcfmError("evaluate.labels=teacher needs teachers to ask, and there are none here; use hard labels.")
        return TeacherTargets(pool.relabel, content_hash(*pool.fingerprints), e.soft_weight, e.temperature)
    if e.labels == "soft" and labels is None:
        raise NcfmError("The set has no soft labels; distil with --set labels.kind=soft, or judge it by hard ones.")
    if e.labels == "hard" or labels is None:
        return None
    return SoftTargets(labels.log_probabilities(), e.soft_weight, e.temperature)


def build_protocol(config: RunConfig, targets: StudentTargets | None = None) -> Protocol:
    """The evaluation protocol; settings that differ from it, and labels that are not hard, show in its name."""
    e = config.evaluate
    labels = "hard" if targets is None else targets.name
    return get_protocol(e.protocol, epochs=e.epochs, augment=e.augment, num_runs=e.runs, looks=e.looks, labels=labels)


def check_start(config: DistillConfig) -> None:
    """Check that no two settings say what a start has first.

    Raises:
        NcfmError: if two do.
    """
    if config.init == "rded" and config.extend is not None:
        raise NcfmError("distill.extend and distill.init=rded both say what the start has first; choose one.")


def build_extension(images: ImageSet, pool: TeacherPool, config: RunConfig, ipc: int) -> SyntheticSet | None:
    """The set that a start has first in each class: one to extend, or mosaics of realistic crops; None for neither."""
    d = config.distill
    check_start(d)
    if d.init != "rded":
        return None if d.extend is None else load(d.extend)
    drawn = generator(config.seed, "rded")
    crops = rded(images, pool, ipc=ipc, factor=d.factor, generator=drawn, decode=True)
    return replace(crops, mode=d.mode, bound=d.bound)


def run_distillation(
    images: ImageSet, pool: TeacherPool, config: RunConfig, machine: Machine, *, ipc: int, **arguments: Any
) -> DistillResult:
    """Distil with the configuration's settings; ``arguments`` go to `ncfm.distillation.distill` as they are."""
    d, own = config.distill, machine.ranks.share(images.num_classes)
    return distill(
        images,
        pool,
        build_objective(config, int(pool.blended.num_features), own.stop - own.start),  # type: ignore[arg-type]
        ipc=ipc,
        iterations=d.iterations,
        seconds=d.seconds,
        factor=d.factor,
        mode=d.mode,
        bound=d.bound,
        init="mosaic" if d.init == "rded" else d.init,
        extend=build_extension(images, pool, config, ipc),
        augment=d.augment,
        real_batch_per_class=d.real_batch_per_class,
        real_pool_per_class=d.real_pool_per_class,
        image_lr=d.image_lr,
        image_schedule=d.image_schedule,
        adversary_lr=d.adversary_lr,
        ascent_steps=d.ascent_steps,
        descent_steps=d.descent_steps,
        classes_per_step=d.classes_per_step,
        matching_weight=d.matching_weight,
        calibration_weight=d.calibration_weight,
        normalize_features=d.normalize_features,
        extractor=config.teachers.extractor,
        recompute_batch_norms=config.teachers.batch_norm == "recomputed",
        early_stop_patience=d.early_stop_patience,
        seed=config.seed,
        precision=machine.precision,
        chunk_size=machine.chunk_size,
        gradient_chunk_size=config.machine.gradient_chunk_size,
        compile_networks=machine.compile_networks,
        compile_step=machine.compile_step,
        checkpoint_seconds=config.machine.checkpoint_seconds,
        diagnose_every=config.machine.diagnose_every,
        logger=make_logger(
            config.machine.log if machine.ranks.is_first else None,
            arguments.get("folder"),
            config.model_dump(mode="json"),
        ),
        ranks=machine.ranks,
        **arguments,
    )


def run_trajectory_matching(
    images: ImageSet, experts: ExpertPool, config: RunConfig, *, ipc: int, **arguments: Any
) -> DistillResult:
    """Match trajectories (MTT, DATM) with the configuration's settings; ``arguments`` go on as they are.

    Raises:
        NcfmError: beside what `distill_trajectories` raises, for a set to extend.
    """
    d, t = config.distill, config.trajectory
    if d.extend is not None:
        raise NcfmError("distill.extend is for the objectives that match distributions, not trajectories.")
    if d.init == "rded":
        raise NcfmError(
            "distill.init=rded asks teachers, and trajectories have none; datm has trajectory.correct_start."
        )
    datm = config.objective.name == "datm"
    return distill_trajectories(
        images,
        experts,
        ipc=ipc,
        iterations=d.iterations,
        seconds=d.seconds,
        factor=d.factor,
        mode=d.mode,
        bound=d.bound,
        init="correct" if datm and t.correct_start else d.init,
        learn_labels=datm,
        label_precision=config.labels.precision,
        augment=d.augment,
        start=build_starts(config),
        matched_epochs=t.matched_epochs,
        student_steps=t.student_steps,
        batch_size=t.student_batch_size,
        differentiation=t.differentiation,
        image_lr=d.image_lr,
        image_schedule=d.image_schedule,
        label_lr=t.label_lr,
        step_size=t.step_size,
        step_size_lr=t.step_size_lr,
        early_stop_patience=d.early_stop_patience,
        seed=config.seed,
        checkpoint_seconds=config.machine.checkpoint_seconds,
        logger=make_logger(config.machine.log, arguments.get("folder"), config.model_dump(mode="json")),
        **arguments,
    )
