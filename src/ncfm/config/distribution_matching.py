"""Distribution matching: the loop of NCFM, and of every objective that compares features of real and synthetic images.

Here is all that happens for such an objective: what it is built from, what networks it needs, what is checked before
they are trained, and what runs. The objectives are named by `ncfm.distillation.objectives.OBJECTIVES`, the samplers by
`ncfm.discrepancy.frequencies.SAMPLERS`; the user's own are named ``module:callable``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import nn

from ncfm._utils.checks import InputError
from ncfm._utils.compute import Compute
from ncfm._utils.outside import is_outside, named_arguments
from ncfm._utils.seeding import generator
from ncfm.baselines.rded import rded
from ncfm.config.build import build_control, build_soft_labels
from ncfm.config.pools import FRESH_NETWORKS, TEACHERS, PoolSource
from ncfm.config.samplers import build_sampler, check_adversary, made, maker_of
from ncfm.config.schema import DistillConfig, RunConfig
from ncfm.data.augment import SiameseAugment
from ncfm.data.image_set import ImageSet
from ncfm.distillation import DistillResult, distill
from ncfm.distillation.budget import Budget
from ncfm.distillation.control import RunControl
from ncfm.distillation.objectives import OBJECTIVES, Objective, check_objective
from ncfm.distillation.options import Extraction, Matching
from ncfm.distillation.step_checks import check_together
from ncfm.networks.base import as_network
from ncfm.networks.features import feature_widths
from ncfm.synthetic.counts import Ipc, width_of
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.initialization import Start
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training.teachers import TeacherPool, network_for


class DistributionMatching:
    """How an objective of distributions is distilled."""

    sections: tuple[str, ...] = ("teachers.", "distill.", "labels.", "objective.", "frequencies.")

    def needs(self, config: RunConfig) -> PoolSource[TeacherPool]:
        """Teachers, unless extractors are fresh networks and nothing else asks a trained one."""
        return TEACHERS if config.teachers.extractor != "random" or _asks_teachers(config) else FRESH_NETWORKS

    def check(self, images: ImageSet, config: RunConfig, machine: Compute) -> None:
        """Build the objective for a network that is not trained yet, so that its errors come before the training.

        Raises:
            NcfmError: for an objective, a sampler or options that cannot be built, settings of the adversary that do
                not fit the data or the extractors, an unknown augmentation, settings of the start that exclude each
                other, and steps or ranks that the objective does not allow.
        """
        check_start(config.distill)
        SiameseAugment(config.distill.augment)
        own = machine.ranks.share(images.num_classes)
        network = network_for(images, config.teachers.network, seed=0)
        as_network(network, config.teachers.network)  # names it in the message
        objective = build_objective(config, _width(network, config), own.stop - own.start)
        parts = -(-(own.stop - own.start) // (config.distill.classes_per_step or images.num_classes))
        check_together(objective, parts, machine, is_equal=True)  # unequal classes: `check_counts`
        named = named_arguments(maker_of(config.objective.name, OBJECTIVES, "objective"))
        check_adversary(images, config, objective, named)

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


def _asks_teachers(config: RunConfig) -> bool:
    """Whether anything but the extractors needs trained teachers."""
    d = config.distill
    clustered = d.real_batches == "clustered" and d.cluster_space == "features"
    return d.calibration_weight > 0 or d.init == "rded" or clustered or config.labels.kind == "soft"


def build_objective(config: RunConfig, num_features: int, num_classes: int) -> Objective:
    """The objective of a name, or the user's own.

    It is called with those of these keyword arguments that it names: num_features, num_classes, seed_generator, sampler
    and criterion (of the section ``frequencies``), and the settings of the section ``objective``; and with all of
    ``objective.options``.
    The user's own is made twice: `check_objective` uses one up.

    Raises:
        NcfmError: if it cannot be made, or what the user's own returns is not an objective.
    """
    o, seed = config.objective, config.seed
    make = maker_of(o.name, OBJECTIVES, "objective")

    def build() -> Objective:
        offered: dict[str, Any] = {
            "num_features": num_features,
            "num_classes": num_classes,
            "seed_generator": generator(seed, "objective"),
            "sampler": None,
            "criterion": config.frequencies.criterion,
            **o.model_dump(exclude={"name", "options"}),
        }
        if "sampler" in named_arguments(make):
            offered["sampler"] = build_sampler(config.frequencies, num_features, seed, config.teachers.number)
        objective: Objective = made(
            make, offered, o.options, name=o.name, what="objective", section="objective", seed=seed
        )
        return objective

    if is_outside(o.name):
        check_objective(build(), o.name, num_classes, num_features)
    return build()


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
        return Start(d.init, extend, d.shrink)
    drawn = generator(config.seed, "rded")
    crops = rded(images, pool, ipc=width_of(ipc), factor=d.factor, generator=drawn, decode=True)
    return Start("mosaic", replace(crops, mode=d.mode, bound=d.bound), d.shrink)


def _width(network: nn.Module, config: RunConfig) -> int:
    """Number of features that are matched."""
    return sum(feature_widths(network, config.teachers.layers))


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
        build_objective(config, _width(pool.blended, config), own.stop - own.start),
        ipc=ipc,
        formation=Formation.of(d),
        start=build_start(images, pool, config, ipc, extend),
        matching=Matching.of(d),
        extraction=Extraction.of(config.teachers),
        budget=Budget.of(d),
        compute=machine,
        control=build_control(config, control, machine.ranks),
        seed=config.seed,
    )
