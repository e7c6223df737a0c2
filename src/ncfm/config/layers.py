"""A configuration from layers of settings: command line over file over default; all errors are reported at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ncfm._utils.checks import InputError
from ncfm.config.keys import nearest_key
from ncfm.config.schema import RunConfig

RESTARTS = {
    ("evaluate", "protocol"): ("epochs", "runs", "looks"),
    ("objective", "name"): ("options",),
    ("frequencies", "family"): ("options",),
}
"""Settings of earlier layers that a layer drops when it sets the first: they belonged to the earlier value."""


def make_config(*layers: Mapping[str, Any]) -> RunConfig:
    """Merge layers, later over earlier, and check them.

    A layer that names a protocol starts from it: the epochs, students and looks of earlier layers belonged to theirs.
    So do the options of an objective and of a sampler.

    Raises:
        NcfmError: listing every unknown key (with the nearest known one) and every wrong value.
    """
    try:
        return RunConfig.model_validate(merged(*layers))
    except ValidationError as error:
        problems = [_explain(e) for e in error.errors()]
        raise InputError("The configuration is not valid:\n" + "\n".join(f"  - {p}" for p in problems)) from error


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings, later layers over earlier ones, but for what `RESTARTS` drops."""
    found: dict[str, Any] = {}
    for layer in layers:
        for (section, key), dropped in RESTARTS.items():
            own, before = layer.get(section), found.get(section)
            if isinstance(own, Mapping) and key in own and isinstance(before, dict):
                for name in dropped:
                    before.pop(name, None)
        _merge(found, layer)
    return found


def _merge(base: dict[str, Any], layer: Mapping[str, Any]) -> None:
    for key, value in layer.items():
        if isinstance(value, Mapping):
            if not isinstance(base.get(key), dict):
                base[key] = {}
            _merge(base[key], value)  # copies at every depth: a layer is not changed by later ones
        else:
            base[key] = value


def _explain(error: Any) -> str:
    key = ".".join(map(str, error["loc"]))
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"unknown key {key!r}.{nearest_key(key)} `ncfm recipes keys` lists all."
    if error["type"] == "value_error":  # of a check of ours
        return f"{key}: {error['ctx']['error']}"
    return f"{key}: {error['msg'].lower()}, got {error['input']!r}"
