"""The settings of a run as text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ncfm.config.keys import dotted, parse_setting
from ncfm.config.schema import RunConfig
from ncfm.report.run_folder import RunFolder


def settings_table(run: RunFolder) -> list[tuple[str, str, bool]]:
    """All settings as text, and whether they differ from the defaults."""
    if run.config is None:
        return [(key, str(value), False) for key, value in _flat(run.stored)]
    defaults = dotted(RunConfig())
    return [(key, setting_text(value), value != defaults.get(key)) for key, value in dotted(run.config).items()]


def setting_text(value: Any) -> str:
    """A setting in the syntax of ``--set``."""
    if value is None:
        return "none"
    is_plain = isinstance(value, str) and parse_setting(f"key={value}") == ("key", value)
    return value if is_plain else json.dumps(value)  # a string that reads as a number is quoted


def _flat(nested: Mapping[str, Any], place: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in nested.items():
        found += _flat(value, f"{place}{key}.") if isinstance(value, dict) else [(f"{place}{key}", value)]
    return found
