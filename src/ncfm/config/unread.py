"""Settings that a run does not read, given those that it has: what the user gave in vain is named, with the reason."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from ncfm._utils.outside import is_outside, named_arguments
from ncfm.config.loops import loop_of
from ncfm.config.samplers import maker_of
from ncfm.config.schema import TRAJECTORY_OBJECTIVES, FrequenciesConfig, ObjectiveConfig, RunConfig
from ncfm.config.teacher_pools import DETERMINING
from ncfm.discrepancy.frequencies import FIXED_SAMPLERS, SAMPLERS
from ncfm.distillation.budget import Budget
from ncfm.distillation.objectives import OBJECTIVES
from ncfm.synthetic.formation import Formation

READ_WITH: Mapping[str, tuple[str, tuple[Any, ...]]] = {
    "distill.image_momentum": ("distill.image_optimizer", ("sgd",)),
    "distill.plateau_patience": ("distill.image_schedule", ("plateau",)),
    "distill.cluster_space": ("distill.real_batches", ("clustered",)),
    "distill.bound": ("distill.mode", ("bounded",)),
    "distill.shrink": ("distill.init", ("mosaic", "first", "rded")),
    "distill.iterations": ("distill.seconds", (None,)),
    "labels.top_k": ("labels.kind", ("soft",)),
    "labels.precision": ("labels.kind", ("soft",)),
    "objective.bandwidth_factors": ("objective.bandwidths", (None,)),
}
"""Settings that are read with some values of another one only."""

OF_CALIBRATION = ("distill.calibration_reduction", "distill.calibration_step")
OF_ADVERSARY = ("distill.adversary_lr", "distill.ascent_steps", "objective.gradient_rows")
TOLD_ELSEWHERE = ("frequencies.criterion", "frequencies.per_teacher")  # by `check_adversary`
_SAMPLER_ARGUMENTS = {"number": "num_frequencies"}  # where a setting arrives by another name


def unread_settings(config: RunConfig, given: Collection[str]) -> dict[str, str]:
    """Why settings of the user have no effect, by their dotted name, in the order in which they were given.

    Args:
        config: of the run.
        given: the dotted settings that the user gives; others are not named.
    """
    reasons = dict(_trajectories(config) if _matches_trajectories(config) else _distributions(config))
    for key, (other, values) in READ_WITH.items():
        section, name = other.split(".")
        value = getattr(getattr(config, section), name)
        if value not in values and not (key == "labels.precision" and config.objective.name == "datm"):
            reasons.setdefault(key, f"{other} is {_shown(value)}")
    return {key: reasons[key] for key in given if key in reasons and key not in TOLD_ELSEWHERE}


def unread_by_all(configs: Sequence[RunConfig], given: Collection[str]) -> list[str]:
    """A line for each setting of the user that none of some runs reads; none without runs."""
    found = [unread_settings(config, given) for config in configs]
    reasons = {key: dict.fromkeys(one[key] for one in found) for key in given if all(key in one for one in found)}
    return [f"{key} has no effect: {'; '.join(why)}." for key, why in reasons.items() if why]


def _matches_trajectories(config: RunConfig) -> bool:
    return config.objective.name in TRAJECTORY_OBJECTIVES


def _distributions(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What is not read where distributions are matched."""
    o, f = config.objective, config.frequencies
    yield from ((f"trajectory.{name}", f"objective.name={o.name} matches no trajectories") for name in _trajectory())
    named = named_arguments(maker_of(o.name, OBJECTIVES, "objective"))
    for name in ObjectiveConfig.model_fields.keys() - {"name", "options", *named}:
        yield f"objective.{name}", f"the objective {o.name} does not take it"
    if "sampler" not in named:
        yield from ((f"frequencies.{name}", f"the objective {o.name} has none") for name in _frequencies())
    else:
        arguments = named_arguments(maker_of(f.family, SAMPLERS, "sampler"))
        for name in _frequencies() - {"family"}:
            if _SAMPLER_ARGUMENTS.get(name, name) not in arguments:
                yield f"frequencies.{name}", f"the sampler {f.family} does not take it"
        if f.family == "direct" and f.fixed_bandwidth:
            yield "frequencies.spread", "frequencies.fixed_bandwidth is true"
    if not is_outside(o.name) and ("sampler" not in named or f.family in FIXED_SAMPLERS):
        yield from ((key, "nothing is learned but the images") for key in OF_ADVERSARY)
    if config.distill.calibration_weight == 0:
        yield from ((key, "distill.calibration_weight is 0") for key in OF_CALIBRATION)
    if not loop_of(config).needs(config).is_trained and config.evaluate.labels != "teacher":
        trained = (name for name in DETERMINING if name not in ("network", "seed"))
        yield from ((f"teachers.{name}", "no teacher is trained") for name in trained)


def _trajectories(config: RunConfig) -> Iterator[tuple[str, str]]:
    """What is not read where trajectories are matched."""
    o, t = config.objective.name, config.trajectory
    why = f"objective.name={o} does not read it"
    read = {field.name for options in (Budget, Formation) for field in fields(options)} | {"augment", "init"}
    read |= {"extend", "extend_normalized_by", "extend_factor"}  # refused
    yield from ((f"distill.{field.name}", why) for field in fields(config.distill) if field.name not in read)
    yield from ((f"objective.{name}", why) for name in ObjectiveConfig.model_fields.keys() - {"name"})
    yield from ((f"frequencies.{name}", why) for name in FrequenciesConfig.model_fields)
    if config.evaluate.labels != "teacher":
        others = type(config.teachers).model_fields.keys() - {"network", "seed", "pool"}  # a pool is refused
        yield from ((f"teachers.{name}", f"{why}; experts have trajectory.epochs and others") for name in others)
    if o == "mtt":
        of_datm = ("start_first_high", "start_growth", "label_lr", "correct_start")
        yield from ((f"trajectory.{name}", "it is for objective.name=datm") for name in of_datm)
    elif t.correct_start:
        yield "distill.init", "trajectory.correct_start is true"


def _trajectory() -> set[str]:
    return {field.name for field in fields(RunConfig().trajectory)}


def _frequencies() -> set[str]:
    return FrequenciesConfig.model_fields.keys() - {"options", "criterion", "per_teacher"}


def _shown(value: Any) -> str:
    return "not set" if value is None else str(value)
