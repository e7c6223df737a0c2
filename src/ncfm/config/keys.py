"""Dotted names of settings: ``distill.factor`` for the setting ``factor`` of the section ``distill``."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from ncfm._utils.checks import InputError, nearest
from ncfm._utils.options import descriptions
from ncfm.config.schema import RunConfig

# In the order in which rows of results name settings: another order would give one variant two names.
_DISTILL = (
    *("iterations", "seconds", "factor", "mode", "bound", "init", "extend", "extend_normalized_by", "extend_factor"),
    *("augment", "real_batch_per_class"),
    *("real_pool_per_class", "image_lr", "image_schedule", "adversary_lr", "ascent_steps", "descent_steps"),
    *("classes_per_step", "matching_weight", "calibration_weight", "normalize_features", "early_stop_patience"),
    *("shrink", "real_batches", "num_clusters", "cluster_space", "calibration_reduction", "calibration_step"),
    *("image_optimizer", "image_momentum", "image_weight_decay", "plateau_patience"),
)


def known_keys() -> list[str]:
    """All settings, dotted: ``distill.iterations``, ..., ``seed``."""
    return [key for key, _ in describe_keys()]


def describe_keys() -> Iterator[tuple[str, str]]:
    """All settings with their default and description."""
    for section, values in RunConfig().model_dump().items():
        if not isinstance(values, dict):
            yield section, f"{values}"
            continue
        described = descriptions(type(getattr(RunConfig(), section)))
        for name in _DISTILL if section == "distill" else values:
            yield f"{section}.{name}", f"{values[name]}  {described.get(name, '')}".rstrip()


def nearest_key(key: str) -> str:
    """``" Did you mean 'x'?"`` for the setting nearest to a wrong one, by its whole name or by its last part."""
    guess = nearest(key, known_keys())
    if guess:
        return guess
    last = {k.split(".")[-1]: k for k in known_keys()}
    matches = difflib.get_close_matches(key.split(".")[-1], last, n=1, cutoff=0.6)
    return f" Did you mean {last[matches[0]]!r}?" if matches else ""


def nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted settings as nested ones: ``{"distill.factor": 2}`` -> ``{"distill": {"factor": 2}}``.

    Whether they exist is left to `make_config`, which reports all errors at once.

    >>> nest({"objective.name": "mine:make", "objective.options.temperature": 2})
    {'objective': {'name': 'mine:make', 'options': {'temperature': 2}}}
    """
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        place = nested
        *sections, last = key.split(".")
        for section in sections:
            inner = place.setdefault(section, {})
            if not isinstance(inner, dict):
                inner = place[section] = {}
            place = inner
        place[last] = _copy(value)  # keys below it may follow
    return nested


def _copy(value: Any) -> Any:
    """Nested mappings as dictionaries of their own."""
    return {key: _copy(inner) for key, inner in value.items()} if isinstance(value, Mapping) else value


def dotted(config: RunConfig) -> dict[str, Any]:
    """All settings with their dotted names: the opposite of `nest`. A table of options has a key for each, or none."""
    nested = config.model_dump()
    nested["distill"] = {name: nested["distill"][name] for name in _DISTILL}
    return dict(_dotted(nested, ""))


def _dotted(nested: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for key, value in nested.items():
        if isinstance(value, dict):
            yield from _dotted(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def parse_setting(text: str) -> tuple[str, Any]:
    """``key=value`` as key and value; the value is read as TOML, or as a plain string if it is not TOML.

    >>> parse_setting("distill.factor=1")
    ('distill.factor', 1)

    Raises:
        NcfmError: without an equals sign.
    """
    key, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"Expected --set key=value, got {text!r}; for example --set distill.iterations=500.")
    value = value.strip()
    if value.lower() == "none" and not key.strip().endswith("augment"):  # where none is the name of a strategy
        return key.strip(), None
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value
