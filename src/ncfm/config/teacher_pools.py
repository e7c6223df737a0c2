"""The setting ``teachers.pool``: a folder of trained teachers in place of training them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError
from ncfm.config.layers import make_config
from ncfm.config.schema import RunConfig
from ncfm.networks.registry import is_own
from ncfm.training.pool_files import PoolFacts, read_facts

DETERMINING = (
    *("network", "number", "epochs", "optimizer", "lr", "batch_size", "schedule", "augment", "cutmix", "seed"),
)
"""Settings of section teachers that determine the trained teachers."""


def with_pool(config: RunConfig, given: Mapping[str, Any]) -> RunConfig:
    """The configuration with the settings of the teachers in the folder ``teachers.pool``; unchanged without one.

    A configuration thus always tells how its teachers were trained, and without the folder they can be trained again.

    Args:
        config: with the user's settings.
        given: the user's own settings of section teachers.

    Raises:
        NcfmError: if the folder has no teachers or is damaged, a setting of the user contradicts it, or its network is
            code that the user does not name.
    """
    if config.teachers.pool is None:
        return config
    folder = Path(config.teachers.pool)
    facts = read_facts(folder)
    _check_own_network(folder, facts, given.get("network"))
    recorded = {key: facts.training[key] for key in DETERMINING if key in facts.training}
    theirs = make_config({"teachers": recorded}).teachers
    for key in DETERMINING:
        own, stored = getattr(config.teachers, key), getattr(theirs, key)
        if key in given and own != stored:
            raise InputError(
                f"teachers.{key}={own} contradicts the pool {folder}, whose teachers have {stored}; leave one of "
                f"teachers.{key} and teachers.pool out."
            )
    changes = {key: getattr(theirs, key) for key in DETERMINING}
    return config.model_copy(update={"teachers": config.teachers.model_copy(update=changes)})


def _check_own_network(folder: Path, facts: PoolFacts, named: object) -> None:
    """Code that a file names is never imported, unless the user names it too."""
    if not is_own(facts.network) and facts.network != named:
        raise InputError(
            f"The teachers of {folder} have the network {facts.network!r}. Code that a file names is imported only if "
            f"you name it yourself: teachers.network={facts.network}."
        )
