"""Settings that are chosen where the user gives none: each with the reason, printed and stored with the run.

The recipe of the data and its images per class comes first (`ncfm.config.resolve.fitting_recipe`). Without one the
nearest recipe of the same data is used. Data without any recipe get the settings of `ncfm.config.data_defaults`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ncfm.config.recipes import recipe_names
from ncfm.networks.registry import is_own
from ncfm.synthetic.counts import Spec, usual_ipc

RECIPE = "recipe"
"""The setting that a recipe is recorded under."""

CHOOSABLE = (
    *(RECIPE, "teachers.network", "teachers.batch_size", "teachers.epochs", "teachers.augment", "distill.augment"),
    *("distill.real_batch_per_class", "distill.factor", "distill.iterations", "evaluate.network", "evaluate.augment"),
)
"""What may be chosen. A run folder may come from others: nothing else of what it records is taken from it."""


@dataclass(frozen=True)
class Choice:
    """Settings that were chosen together, for one reason."""

    settings: Mapping[str, Any]  # dotted, or `RECIPE` with the name of one
    why: str  # one line

    def __str__(self) -> str:
        named = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return f"{named}: {self.why}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"settings": dict(self.settings), "why": self.why}


def chosen_settings(choices: Sequence[Choice]) -> dict[str, Any]:
    """The settings of all choices, dotted."""
    return {key: value for choice in choices for key, value in choice.settings.items()}


def read_choices(recorded: object) -> tuple[Choice, ...]:
    """The choices that a run recorded; none for a run of a version that chose nothing.

    Those that this package would not make are left out: code that only a record names is never imported.
    """
    found = []
    for one in recorded if isinstance(recorded, list) else []:
        settings = one.get("settings") if isinstance(one, dict) else None
        if isinstance(settings, dict) and _is_ours(settings):
            found.append(Choice(settings, str(one.get("why", ""))))
    return tuple(found)


def _is_ours(settings: Mapping[str, Any]) -> bool:
    """Whether settings are such as this package chooses."""
    if not all(key in CHOOSABLE for key in settings):
        return False
    networks = [value for key, value in settings.items() if key.endswith(".network")]
    recipes = [settings[RECIPE]] if RECIPE in settings else []
    return all(isinstance(name, str) and is_own(name) for name in networks) and all(
        name in recipe_names() for name in recipes
    )


def nearest_recipe(data: str, ipc: Spec | None) -> str | None:
    """The recipe ``DATA-ipcN`` of the same data whose N is nearest, as a ratio; None if the data have none.

    Of two as near, and without an ``ipc``, the one of fewer images is taken.

    >>> nearest_recipe("digits", 10), nearest_recipe("cifar10", 20), nearest_recipe("my-photos", 1)
    ('digits-ipc1', 'cifar10-ipc10', None)
    """
    pattern = re.compile(rf"{re.escape(data)}-ipc(\d+)")
    found = {int(match[1]): match[0] for match in map(pattern.fullmatch, recipe_names()) if match}
    wanted = (None if ipc is None else usual_ipc(ipc)) or min(found, default=1)
    return found[min(found, key=lambda n: (abs(math.log(n / wanted)), n))] if found else None


def recipe_choice(data: str, ipc: Spec | None, fitting: str | None) -> tuple[Choice, ...]:
    """The choice of the nearest recipe, where there is no ``fitting`` one; none for data without recipes."""
    name = None if fitting is not None else nearest_recipe(data, ipc)
    if name is None:
        return ()
    asked = "these images per class" if ipc is None or usual_ipc(ipc) is None else f"IPC {usual_ipc(ipc)}"
    why = f"the nearest recipe of {data}, which has none for {asked} (--recipe none: the plain defaults)"
    return (Choice({RECIPE: name}, why),)
