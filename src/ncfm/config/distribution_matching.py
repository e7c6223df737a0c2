"""Distribution matching: the loop of NCFM, and of every objective that compares features of real and synthetic images.

Here is all that happens for such an objective: what it is built from, what networks it needs, what is checked before
they are trained, and what runs. The objectives are named by `ncfm.distillation.objectives.OBJECTIVES`, the samplers by
`ncfm.discrepancy.frequencies.SAMPLERS`; the user's own are named ``module:callable``.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from ncfm._utils.checks import NcfmError, check_known
from ncfm._utils.outside import call_with, is_outside, load_callable, named_arguments
from ncfm._utils.seeding import derive_seed, generator
from ncfm.baselines.rded import rded
from ncfm.config.build import Machine, build_soft_labels
from ncfm.config.pools import FRESH_NETWORKS, TEACHERS, PoolSource
from ncfm.config.schema import DistillConfig, FrequenciesConfig, RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.discrepancy.frequencies import SAMPLERS, FrequencySampler, check_sampler
from ncfm.distillation import DistillResult, distill
from ncfm.distillation.loggers import make_logger
from ncfm.distillation.objectives import OBJECTIVES, Objective, check_objective
from ncfm.networks.base import as_network
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool, network_for


class DistributionMatching:
    """How an objective of distributions is distilled."""

    sections: tuple[str, ...] = ("teachers.", "distill.", "labels.", "objective.", "frequencies.")

    def needs(self, config: RunConfig) -> PoolSource[TeacherPool]:
        """Teachers, but for fresh networks as extractors without calibration."""
        trained = config.teachers.extractor != "random" or config.distill.calibration_weight > 0
        return TEACHERS if trained else FRESH_NETWORKS

    def check(self, images: ImageSet, config: RunConfig, machine: Machine) -> None:
        """Build the objective for a network that is not trained yet, so that its errors come before the training.

        Raises:
            NcfmError: for an objective, a sampler or options that cannot be built, and settings of the start that
                exclude each other.
        """
        check_start(config.distill)
        own = machine.ranks.share(images.num_classes)
        network = as_network(network_for(images, config.teachers.network, seed=0))
        build_objective(config, network.num_features, own.stop - own.start)

    def run(
        self,
        images: ImageSet,
        networks: TeacherPool,
        config: RunConfig,
        machine: Machine,
        *,
        ipc: int,
        **arguments: Any,
    ) -> DistillResult:
        """Distil, and let the teachers label the decoded images if soft labels are stored."""
        result = run_distillation(images, networks, config, machine, ipc=ipc, **arguments)
        labels = build_soft_labels(config, networks, result.synthetic.decoded().images)
        return replace(result, synthetic=replace(result.synthetic, soft_labels=labels))


def _maker(name: str, table: Mapping[str, Callable[..., Any]], what: str) -> Callable[..., Any]:
    """What makes the objective or sampler of a name; the user's own is imported."""
    if is_outside(name):
        with torch.random.fork_rng(devices=[]):  # what the module draws when it is imported changes nothing
            return load_callable(name, what)
    return table[check_known(name, table, what)]


def _made(
    make: Callable[..., Any],
    offered: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    name: str,
    what: str,
    section: str,
    seed: int,
) -> Any:
    """What a maker returns; layers that draw from torch's own generator get their weights from the seed.

    Raises:
        NcfmError: for arguments that do not fit, and whatever the user's own code or options raise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(derive_seed(seed, what, "initial weights"))
        try:
            return call_with(make, offered, copy.deepcopy(options), what=f"The {what} {name!r}", section=section)
        except NcfmError:
            raise
        except Exception as error:
            if not (is_outside(name) or options):
                raise
            raise NcfmError(f"The {what} {name!r} cannot be made: {type(error).__name__}: {error}") from error


def build_sampler(config: FrequenciesConfig, num_features: int, seed: int) -> FrequencySampler:
    """The sampler of a family, or the user's own.

    It is called with those of these keyword arguments that it names: num_features, num_frequencies, scale, spread,
    fixed_bandwidth, degrees_of_freedom, seed_generator; and with all of ``frequencies.options``.

    Raises:
        NcfmError: if it cannot be made, or what the user's own returns is no sampler.
    """
    offered = {
        "num_features": num_features,
        "num_frequencies": config.number,
        "scale": config.scale,
        "spread": config.spread,
        "fixed_bandwidth": config.fixed_bandwidth,
        "degrees_of_freedom": config.degrees_of_freedom,
        "seed_generator": generator(seed, "adversary"),
    }
    make = _maker(config.family, SAMPLERS, "sampler")
    sampler: FrequencySampler = _made(
        make, offered, config.options, name=config.family, what="sampler", section="frequencies", seed=seed
    )
    return check_sampler(sampler, config.family, num_features) if is_outside(config.family) else sampler


def build_objective(config: RunConfig, num_features: int, num_classes: int) -> Objective:
    """The objective of a name, or the user's own.

    It is called with those of these keyword arguments that it names: num_features, num_classes, seed_generator, sampler
    (as `build_sampler` makes it), and the settings of the section ``objective``; and with all of ``objective.options``.
    The user's own is made twice: `check_objective` uses one up.

    Raises:
        NcfmError: if it cannot be made, or what the user's own returns is no objective.
    """
    o, seed = config.objective, config.seed
    make = _maker(o.name, OBJECTIVES, "objective")

    def made() -> Objective:
        offered: dict[str, Any] = {
            "num_features": num_features,
            "num_classes": num_classes,
            "seed_generator": generator(seed, "objective"),
            "sampler": None,
            **o.model_dump(exclude={"name", "options"}),
        }
        if "sampler" in named_arguments(make):
            offered["sampler"] = build_sampler(config.frequencies, num_features, seed)
        objective: Objective = _made(
            make, offered, o.options, name=o.name, what="objective", section="objective", seed=seed
        )
        return objective

    if is_outside(o.name):
        check_objective(made(), o.name, num_classes, num_features)
    return made()


def check_start(config: DistillConfig) -> None:
    """Check that only one setting gives the first images of the start.

    Raises:
        NcfmError: if two do.
    """
    if config.init == "rded" and config.extend is not None:
        raise NcfmError("distill.extend and distill.init=rded both give the first images of the start; choose one.")


def build_extension(images: ImageSet, pool: TeacherPool, config: RunConfig, ipc: int) -> SyntheticSet | None:
    """The set whose images come first in the start: one to extend, or mosaics of realistic crops; None for neither."""
    d = config.distill
    check_start(d)
    if d.init != "rded":
        return None if d.extend is None else SyntheticSet.load(d.extend)
    drawn = generator(config.seed, "rded")
    crops = rded(images, pool, ipc=ipc, factor=d.factor, generator=drawn, decode=True)
    return replace(crops, mode=d.mode, bound=d.bound)


def run_distillation(
    images: ImageSet, pool: TeacherPool, config: RunConfig, machine: Machine, *, ipc: int, **arguments: Any
) -> DistillResult:
    """Distil with the configuration's settings; ``arguments`` are passed to `ncfm.distillation.distill`."""
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
