"""Samplers of frequencies from their settings, and the checks of these settings; what makes an object of a name."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Collection, Mapping
from typing import Any, cast

import torch
from torch import nn

from ncfm._utils.checks import InputError, NcfmError, check_known
from ncfm._utils.outside import call_with, is_outside, load_callable
from ncfm._utils.seeding import derive_seed, generator
from ncfm.config.schema import FrequenciesConfig, RunConfig
from ncfm.data.image_set import ImageSet
from ncfm.discrepancy.frequencies import SAMPLERS, FrequencySampler, check_sampler
from ncfm.discrepancy.per_teacher import PerTeacherFrequencies
from ncfm.distillation.drawn_extractor import check_conditioned
from ncfm.distillation.objective import Objective


def maker_of(name: str, table: Mapping[str, Callable[..., Any]], what: str) -> Callable[..., Any]:
    """What makes the objective or sampler of a name; the user's own is imported."""
    if is_outside(name):
        with torch.random.fork_rng(devices=[]):  # what the module draws when it is imported changes nothing
            return load_callable(name, what)
    return table[check_known(name, table, what)]


def made(
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


def build_sampler(config: FrequenciesConfig, num_features: int, seed: int, num_teachers: int = 1) -> FrequencySampler:
    """The sampler of a family, or the user's own; with ``frequencies.per_teacher`` one for each teacher, if it learns.

    It is called with those of these keyword arguments that it names: num_features, num_frequencies, scale, spread,
    fixed_bandwidth, degrees_of_freedom, seed_generator; and with all of ``frequencies.options``. The samplers of all
    teachers start alike, so that their differences are what they have learned.

    Raises:
        NcfmError: if it cannot be made, or what the user's own returns is not a sampler.
    """
    first = _one_sampler(config, num_features, seed)
    if not (config.per_teacher and any(True for _ in cast("nn.Module", first).parameters())):
        return first
    more = (_one_sampler(config, num_features, seed) for _ in range(num_teachers - 1))
    return PerTeacherFrequencies([first, *more])


def _one_sampler(config: FrequenciesConfig, num_features: int, seed: int) -> FrequencySampler:
    offered = {
        "num_features": num_features,
        "num_frequencies": config.number,
        "scale": config.scale,
        "spread": config.spread,
        "fixed_bandwidth": config.fixed_bandwidth,
        "degrees_of_freedom": config.degrees_of_freedom,
        "seed_generator": generator(seed, "adversary"),
    }
    make = maker_of(config.family, SAMPLERS, "sampler")
    sampler: FrequencySampler = made(
        make, offered, config.options, name=config.family, what="sampler", section="frequencies", seed=seed
    )
    return check_sampler(sampler, config.family, num_features) if is_outside(config.family) else sampler


def check_adversary(images: ImageSet, config: RunConfig, objective: Objective, named: Collection[str]) -> None:
    """Check the settings of a learned sampler, and warn of those that the run does not read.

    Args:
        images: the real set.
        config: of the run.
        objective: as it was built.
        named: arguments that its maker names.

    Raises:
        NcfmError: for a criterion that needs independent halves of batches with repeated images, and samplers of
            teachers where extractors are none.
    """
    f = config.frequencies
    reads = {name for name, argument in _ARGUMENTS.items() if objective.adversary is not None and argument in named}
    for name in _ARGUMENTS.keys() - reads:
        if getattr(f, name) != FrequenciesConfig.model_fields[name].default:
            warnings.warn(_unread(config, objective, name), stacklevel=2)
    if "criterion" in reads and f.criterion != "discrepancy":
        _check_batch(images, config)
    if "per_teacher" in reads and f.per_teacher:
        check_conditioned(config.teachers.extractor, compile_step=config.machine.compile == "step")


_ARGUMENTS = {"criterion": "criterion", "per_teacher": "sampler"}  # of an objective, that a setting arrives by


def _unread(config: RunConfig, objective: Objective, name: str) -> str:
    o, f = config.objective, config.frequencies
    why = f"nothing is learned with objective.name={o.name} and frequencies.family={f.family}"
    if objective.adversary is not None:
        why = f"the objective {o.name!r} does not take the argument {_ARGUMENTS[name]!r}"
    return f"frequencies.{name}={getattr(f, name)} has no effect: {why}."


def _check_batch(images: ImageSet, config: RunConfig) -> None:
    """Raise InputError unless the halves of a batch are independent samples."""
    n, pool = config.distill.real_batch_per_class, config.distill.real_pool_per_class
    smallest = int(images.train.counts.min())
    smallest = smallest if pool is None else min(smallest, pool)
    if n < 2 or n > smallest:
        raise InputError(
            f"frequencies.criterion={config.frequencies.criterion} takes two halves of the real batch of a class, "
            f"without repeated images: expected distill.real_batch_per_class of 2..{smallest}, got {n}; change it, or "
            "choose frequencies.criterion=discrepancy."
        )
