"""Sets that are compared student by student: one protocol, one network and one seed for the students of all."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from ncfm._utils.checks import InputError
from ncfm._utils.progress import counted
from ncfm.config.build import build_protocol
from ncfm.config.resolve import Settings, config_of_set
from ncfm.config.schema import RunConfig
from ncfm.synthetic.synthetic_set import SyntheticSet

OF_STUDENTS = ("protocol", "network", "runs", "epochs", "augment", "looks")
"""Settings of section evaluate that the students of two sets must share; the labels are those of each set."""


def paired_students(
    sets: Mapping[str, SyntheticSet | str], settings: Settings, seed: int | None
) -> dict[str, dict[str, Any]]:
    """Settings and seed with which the students of each set differ from those of the others by the set alone.

    An external set, which records nothing, has the students of the first set of ncfm. Where the sets record different
    seeds, those of the first one are used, and a warning says so.

    Args:
        sets: by the place that the user names; external ones as that place.
        settings, seed: the user's own.

    Returns:
        ``settings`` and ``seed`` for `ncfm.evaluate`, by place.

    Raises:
        InputError: if the sets record different protocols, networks or numbers of students.
    """
    recorded = {place: _recorded(one) for place, one in sets.items() if isinstance(one, SyntheticSet)}
    if not recorded:
        return {place: {"settings": settings, "seed": seed} for place in sets}
    configs = {place: config_of_set(own, settings, seed) for place, own in recorded.items()}
    first, *others = configs
    for other in others:
        _check_alike(first, configs[first], other, configs[other])
    shared = configs[first].seed
    if any(config.seed != shared for config in configs.values()):
        warnings.warn(
            f"The students of all sets have the seed {shared}, which {first} records, so that they are pairs; another "
            "one by --seed.",
            stacklevel=2,
        )
    usual = _of_students(configs[first])
    return {
        place: {"settings": settings if place in recorded else usual | dict(settings), "seed": shared} for place in sets
    }


def _recorded(synthetic: SyntheticSet) -> dict[str, Any]:
    """What a set records of its students and their seed."""
    stored = synthetic.facts.get("config", {})
    return {key: stored[key] for key in ("evaluate", "seed") if key in stored}


def _of_students(config: RunConfig) -> dict[str, Any]:
    """The dotted settings of the students of a configuration."""
    found = {f"evaluate.{key}": getattr(config.evaluate, key) for key in OF_STUDENTS}
    return {key: value for key, value in found.items() if value is not None}


def _check_alike(first: str, config: RunConfig, other: str, its: RunConfig) -> None:
    """Raise InputError unless two sets would have the same students."""
    here, there = _in_words(config), _in_words(its)
    if here != there:
        raise InputError(
            f"The students of {first} ({here}) and {other} ({there}) differ by more than the set, as the sets record "
            "them; give both the same (--protocol, --networks, --runs, --epochs, --set evaluate.augment=...)."
        )


def _in_words(config: RunConfig) -> str:
    protocol = build_protocol(config)
    return f"{protocol.name}, {config.evaluate.network}, {counted(protocol.num_runs, 'student')}"
