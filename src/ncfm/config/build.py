"""From configuration to what all methods share: machine, data, teachers, labels, protocol.

What belongs to one kind of method is built in its own file: `ncfm.config.distribution_matching`,
`ncfm.config.trajectory_matching`, `ncfm.config.selections`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ncfm import kernels
from ncfm._utils import accelerator
from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.device import (
    choose_compiled,
    choose_device,
    choose_precision,
    cpu_has_amx,
    keep_freed_memory,
)
from ncfm._utils.distributed import ALONE, Ranks
from ncfm._utils.files import content_hash
from ncfm._utils.progress import counted
from ncfm._utils.seeding import generator
from ncfm._utils.types import Images
from ncfm.config.schema import MachineConfig, RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.data.sources import load_images
from ncfm.data.splitting import carve_validation, with_test_split
from ncfm.distillation.control import RunControl
from ncfm.distillation.loggers import import_logger, make_logger
from ncfm.evaluation import Protocol, get_protocol
from ncfm.networks.registry import runs_in_kernels
from ncfm.synthetic.soft_labels import SoftLabels, SoftTargets, StudentTargets, TeacherTargets
from ncfm.training.pool_files import read_pool
from ncfm.training.pretraining import pretrain
from ncfm.training.recipe import TrainingRecipe
from ncfm.training.teachers import TeacherPool


def build_machine(config: MachineConfig, image_size: int, networks: Sequence[str] = ("convnet",)) -> Compute:
    """Device, precision and compilation for images of this size; ``networks`` are the names of those that run."""
    if config.log is not None:
        import_logger(config.log)  # fails now, not after the teachers are trained
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    kernels.enable(config.kernels != "off")
    ranks = Ranks.here()
    device = ranks.own_device(choose_device(config.device))
    accelerator.use(device, tf32=config.tf32)
    if device.type == "cpu":
        keep_freed_memory()
    choice = "on" if config.compile == "step" else config.compile
    may_compile = choose_compiled(choice, device, image_size)
    precision = choose_precision(config.precision, device, compiled=may_compile)
    compiling = may_compile and not (choice == "auto" and _kernels_are_faster(device, precision, image_size, networks))
    whole = compiling and config.compile == "step"
    # On a CPU a network keeps all cores busy by itself, and the stacked pass cannot use the kernels.
    students, teachers = (
        device.type == "cuda" if choice == "auto" else choice == "together"
        for choice in (config.students, config.teachers)
    )
    return Compute(
        device=device,
        precision=precision,
        compile_networks=compiling,
        compile_step=whole,
        chunk_size=config.chunk_size,
        gradient_chunk_size=config.gradient_chunk_size,
        memory_mb=config.memory_mb,
        side_by_side=students,
        teachers_side_by_side=teachers,
        ranks=ranks,
    )


def _kernels_are_faster(device: torch.device, precision: torch.dtype, image_size: int, networks: Sequence[str]) -> bool:
    """Whether the CPU kernels, which are switched off inside compiled code, beat it.

    They do in float32, and in bfloat16 for networks that are nothing but kernels: other layers are slow there unless
    compiled. With AMX, whose tiles compiled convolutions use, the two have not been compared.
    """
    if device.type != "cpu" or not kernels.multiplies_in(precision):
        return False
    alone = all(runs_in_kernels(name, image_size) for name in networks)
    return precision == torch.float32 or (alone and not cpu_has_amx())


def build_data(data: str | ImageSet, config: RunConfig, data_dir: str | Path | None = None) -> ImageSet:
    """The real set; with a validation share its test split is replaced by that part of the training split."""
    images = data
    if isinstance(images, str):
        images = load_images(
            images,
            data_dir=data_dir,
            image_size=config.data.image_size,
            channels=config.data.channels,
            fit=config.data.fit,
            max_unreadable=config.data.max_unreadable,
            image_column=config.data.image_column,
            label_column=config.data.label_column,
            train_split=config.data.train_split,
            test_split=config.data.test_split,
        )
    if images.test is None:
        images = with_test_split(images, config.data.test_fraction)
    if config.data.validation is not None:
        # Not the run's seed: every run and every evaluation must hold out the same images.
        rest, held = carve_validation(images.train, config.data.validation, generator(0, "validation"))
        images = replace(images, name=f"{images.name}@validation", train=rest, test=held)
    if config.data.deviation != "pixels":
        images = replace(images, deviation=config.data.deviation)
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


def teachers_seed(config: RunConfig) -> int:
    """The seed of teachers and experts: their own, or the run's."""
    return config.seed if config.teachers.seed is None else config.teachers.seed


def build_teachers(
    images: ImageSet,
    config: RunConfig,
    machine: Compute,
    on_epoch: Callable[[int, int], None] | None = None,
) -> TeacherPool:
    """The pool of teachers: of the folder that the settings name, else from the cache where possible."""
    if config.teachers.pool is not None:
        return read_pool(Path(config.teachers.pool), images, network=config.teachers.network, compute=machine)
    return pretrain(
        images,
        network=config.teachers.network,
        num_teachers=config.teachers.number,
        recipe=build_teacher_recipe(config),
        seed=config.seed if config.teachers.seed is None else config.teachers.seed,
        compute=machine,
        on_epoch=on_epoch,
        record=config.teachers.extractor == "checkpoint",
    )


def check_soft_labels(config: RunConfig, num_classes: int) -> None:
    """Check the settings of stored soft labels before anything is trained.

    Raises:
        NcfmError: for more classes of a label than there are.
    """
    top_k = config.labels.top_k
    if config.labels.kind == "soft" and top_k is not None and top_k > num_classes:
        raise InputError(
            f"labels.top_k must lie in 1..{num_classes} for {counted(num_classes, 'class')}, got {top_k}; leave it out "
            "to keep "
            "all."
        )


def build_soft_labels(config: RunConfig, pool: TeacherPool, images: Images) -> SoftLabels | None:
    """The teachers' soft labels of the decoded images of a set; None if the configuration stores hard labels."""
    if config.labels.kind == "hard":
        return None
    logs = pool.log_probabilities(images)
    return SoftLabels.of(logs, top_k=config.labels.top_k, precision=config.labels.precision)


def build_targets(
    config: RunConfig, labels: SoftLabels | None, pool: TeacherPool | None = None
) -> StudentTargets | None:
    """How students learn from a set's soft labels, or from the pool's trained teachers; None for hard labels.

    Raises:
        NcfmError: if the configuration needs soft labels that the set does not have, or teachers without a pool.
    """
    e = config.evaluate
    if e.labels == "teacher":
        if pool is None:
            raise InputError("evaluate.labels=teacher needs teachers, and there are none here; use hard labels.")
        shown = [repr(pool.statistics[:2])] if pool.is_shown_otherwise else []
        fingerprint = content_hash(*pool.fingerprints, *shown)
        return TeacherTargets(pool.relabel, fingerprint, e.soft_weight, e.temperature)
    if e.labels == "soft" and labels is None:
        raise InputError("The set has no soft labels; distil with labels.kind=soft, or evaluate with hard labels.")
    if e.labels == "hard" or labels is None:
        return None
    return SoftTargets(labels.log_probabilities(), e.soft_weight, e.temperature)


def build_protocol(config: RunConfig, targets: StudentTargets | None = None) -> Protocol:
    """The evaluation protocol; its name tells of settings that differ from it and of labels that are not hard."""
    e = config.evaluate
    labels = "hard" if targets is None else targets.name
    return get_protocol(e.protocol, epochs=e.epochs, augment=e.augment, num_runs=e.runs, looks=e.looks, labels=labels)


def build_control(config: RunConfig, control: RunControl, ranks: Ranks = ALONE) -> RunControl:
    """The caller's control of a run, with the settings of the machine and their logger."""
    log = config.machine.log if ranks.is_main else None
    return replace(
        control,
        checkpoint_seconds=config.machine.checkpoint_seconds,
        diagnose_every=config.machine.diagnose_every,
        logger=make_logger(log, control.folder, config.model_dump(mode="json")),
    )
