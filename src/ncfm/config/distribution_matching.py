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

from ncfm._utils.checks import InputError, NcfmError, check_known
from ncfm._utils.compute import Compute
from ncfm._utils.outside import call_with, is_outside, load_callable, named_arguments
from ncfm._utils.seeding import derive_seed, generator
from ncfm.baselines.rded import rded
from ncfm.config.build import build_control, build_soft_labels
from ncfm.config.pools import FRESH_NETWORKS, TEACHERS, PoolSource
from ncfm.config.schema import DistillConfig, FrequenciesConfig, RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.discrepancy.frequencies import SAMPLERS, FrequencySampler, check_sampler
from ncfm.distillation import DistillResult, distill
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.objectives import OBJECTIVES, Objective, check_objective
from ncfm.distillation.options import Extraction, Matching
from ncfm.networks.base import as_network
from ncfm.synthetic.counts import Ipc, width_of
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool, network_for


class DistributionMatching:
    """How an objective of distributions is distilled."""

    sections: tuple[str, ...] = ("teachers.", "distill.", "labels.", "objective.", "frequencies.")

    def needs(self, config: RunConfig) -> PoolSource[TeacherPool]:
        """Teachers, but for fresh networks as extractors without calibration."""
        trained = config.teachers.extractor != "random" or config.distill.calibration_weight > 0
        return TEACHERS if trained else FRESH_NETWORKS

    def check(self, images: ImageSet, config: RunConfig, machine: Compute) -> None:
        """Build the objective for a network that is not trained yet, so that its errors come before the training.

        Raises:
            NcfmError: for an objective, a sampler or options that cannot be built, and settings of the start that
                exclude each other.
        """
        check_start(config.distill)
        own = machine.ranks.share(images.num_classes)
        network = as_network(network_for(images, config.teachers.network, seed=0), config.teachers.network)
        build_objective(config, network.num_features, own.stop - own.start)

    def run(
        self,
        images: ImageSet,
        networks: TeacherPool,
        config: RunConfig,
        machine: Compute,
        *,
        ipc: Ipc,
        control: RunControl,
        extend: SyntheticSet | None = None,
    ) -> DistillResult:
        """Distil, and let the teachers label the decoded images if soft labels are stored."""
        result = run_distillation(images, networks, config, machine, ipc=ipc, control=control, extend=extend)
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
            raise InputError(f"The {what} {name!r} cannot be made: {type(error).__name__}: {error}") from error


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
        raise InputError("distill.extend and distill.init=rded both give the first images of the start; choose one.")


EQUAL_ONLY = ("dsdm", "fisher", "entropic")  # the first has a memory by class, the others compare each with all


def check_counts(ipc: Ipc, config: RunConfig) -> None:
    """Check the settings for unequal classes before networks are trained.

    Raises:
        NcfmError: for a set to extend, mode bounded, an objective with a memory or one that compares classes, steps of
            a part of the classes, and compiled steps.
    """
    d = config.distill
    if isinstance(ipc, int):
        return
    for excluded, setting in (
        (d.extend is not None, "distill.extend"),
        (d.mode == "bounded", "distill.mode=bounded"),
        (config.objective.name in EQUAL_ONLY, f"objective.name={config.objective.name}"),
        (d.classes_per_step is not None, "distill.classes_per_step"),
        (config.machine.compile == "step", "machine.compile=step"),
    ):
        if excluded:
            raise InputError(f"{setting} needs equal classes; leave it out, or give one number as --ipc.")


def build_start(
    images: ImageSet, pool: TeacherPool, config: RunConfig, ipc: Ipc, extend: SyntheticSet | None = None
) -> Start:
    """The images before the first iteration: as the settings name them; a set to extend, or mosaics of realistic crops,
    come first in each class."""
    d = config.distill
    check_start(d)
    if d.init != "rded":
        return Start(d.init, extend)
    drawn = generator(config.seed, "rded")
    crops = rded(images, pool, ipc=width_of(ipc), factor=d.factor, generator=drawn, decode=True)
    return Start("mosaic", replace(crops, mode=d.mode, bound=d.bound))


def run_distillation(
    images: ImageSet,
    pool: TeacherPool,
    config: RunConfig,
    machine: Compute,
    *,
    ipc: Ipc,
    control: RunControl,
    extend: SyntheticSet | None = None,
) -> DistillResult:
    """Distil with the configuration's settings; ``extend`` is the set that they name, if any."""
    d, own = config.distill, machine.ranks.share(images.num_classes)
    return distill(
        images,
        pool,
        build_objective(config, int(pool.blended.num_features), own.stop - own.start),  # type: ignore[arg-type]
        ipc=ipc,
        formation=Formation.of(d),
        start=build_start(images, pool, config, ipc, extend),
        matching=Matching.of(d),
        extraction=Extraction(config.teachers.extractor, config.teachers.batch_norm),
        budget=Budget.of(d),
        compute=machine,
        control=build_control(config, control, machine.ranks),
        seed=config.seed,
    )
