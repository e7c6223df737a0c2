"""Methods by name: what `ncfm compare` puts side by side, and the settings that make each what its paper says."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncfm._utils.checks import NcfmError, nearest
from ncfm.config.recipes import RECIPES
from ncfm.config.schema import RunConfig, dotted, make_config, nest

ABLATIONS = RECIPES / "ablations"


@dataclass(frozen=True)
class Method:
    """A way to make a small set."""

    name: str  # of its results rows
    description: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # dotted; what a user sets comes over them
    distilled: bool = True  # by iterations; else chosen from real images
    multiples: Mapping[str, float] = field(default_factory=dict)  # dotted; of what recipe and user say

    def settings_over(self, config: RunConfig, own: Mapping[str, Any]) -> dict[str, Any]:
        """What makes the method, under a user's ``own`` settings; ``config`` has those and the recipe's.

        Raises:
            NcfmError: for a multiple of what is no number.
        """
        usual = dotted(config)
        multiplied = {key: _multiple(key, usual.get(key), factor) for key, factor in self.multiples.items()}
        return {**self.settings, **own, **multiplied}


def _multiple(key: str, value: Any, factor: float) -> Any:
    """A number times a factor; a whole number stays one, and at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise NcfmError(f"Expected a number to multiply by {factor}, but {key} is {value!r}.")
    if not math.isfinite(factor):
        raise NcfmError(f"Expected a finite number to multiply {key} by, got {factor}.")
    return max(round(factor * value), 1) if isinstance(value, int) else factor * value


# Students of trajectory matching see the images as they are stored, as in its papers.
_AS_STORED = {"distill.factor": 1, "distill.init": "real"}


def _in_place_of_ncfd(objective: str, matching_weight: float) -> dict[str, Any]:
    """Another objective in the loop of NCFM, beside the calibration with about the weight that NCFD has there.

    Objectives have different scales. The weight makes the gradient on the images about as long as that of NCFD at its
    own weight of 10, as measured at the start of CIFAR-10 with 10 images a class by ``benchmarks.weights``.
    """
    return {"objective.name": objective, "distill.matching_weight": matching_weight}


METHODS: dict[str, Method] = {
    "ncfm": Method("ncfm", "characteristic functions, learned frequencies"),
    "gaussian": Method("ncfm", "the same, fixed frequencies", {"frequencies.family": "gaussian"}),
    "mean": Method("mean", "mean matching, blended teachers, calibration (DANCE)", _in_place_of_ncfd("mean", 25.0)),
    "mse": Method("mse", "point matching", _in_place_of_ncfd("mse", 5.0)),
    "mmd": Method("mmd", "kernel matching (M3D)", _in_place_of_ncfd("mmd", 35.0)),
    "dsdm": Method("dsdm", "means and covariances, with a memory", _in_place_of_ncfd("dsdm", 10.0)),
    "dm": Method(
        "dm",
        "mean matching in fresh random networks (DM)",
        {
            "objective.name": "mean",
            "teachers.extractor": "random",
            "distill.calibration_weight": 0.0,
            "distill.matching_weight": 1.0,
            "distill.normalize_features": False,
            **_AS_STORED,
        },
    ),
    "mtt": Method("mtt", "training trajectories", {"objective.name": "mtt", **_AS_STORED}),
    "datm": Method("datm", "the same, easy to hard, learned soft labels", {"objective.name": "datm", **_AS_STORED}),
    "random": Method("random", "real images at random", distilled=False),
    "herding": Method("herding", "real images nearest to the mean, one by one", distilled=False),
    "kcenter": Method("kcenter", "real images, farthest first", distilled=False),
    "kmeans": Method("kmeans", "real images nearest to k centres", distilled=False),
    "mosaic": Method("mosaic", "random real images, several in one", distilled=False),
    "rded": Method("rded", "realistic crops, several in one, hard labels", distilled=False),
    "rded-teacher": Method(
        "rded", "the same, students ask the teachers (RDED)", {"evaluate.labels": "teacher"}, distilled=False
    ),
    "full": Method("full", "the training split, equal optimizer steps", distilled=False),
}


def ablation_names() -> list[str]:
    """The ablations that come with the package."""
    return sorted(path.stem for path in ABLATIONS.glob("*.toml"))


def _path(name: str) -> Path:
    return Path(name).expanduser() if name.endswith(".toml") else ABLATIONS / f"{name}.toml"


def ablation_text(name: str) -> str:
    """The file of an ablation, by name or path.

    Raises:
        NcfmError: if it is missing.
    """
    path = _path(name)
    if not path.is_file():
        raise NcfmError(
            f"Unknown ablation {name!r}.{nearest(name, ablation_names())} Known: {', '.join(ablation_names())}; "
            "or a path ending in .toml."
        )
    return path.read_text(encoding="utf-8")


def read_ablation(name: str) -> dict[str, Method]:
    """The variants of an ablation, by name or path: each its base method with other settings.

    An ablation is a TOML file::

        method = "ncfm"                              # of METHODS; default ncfm
        [variants."alpha=0"]
        "objective.amplitude_weight" = 0.0
        [variants."half the iterations"]
        "distill.iterations" = { times = 0.5 }       # of what recipe and user say

    Raises:
        NcfmError: if it is missing or wrong, with all wrong settings of the first variant that has any.
    """
    path = _path(name)
    try:
        content = tomllib.loads(ablation_text(name))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise NcfmError(f"Could not read the ablation {path}: {error}.") from error
    base, variants = METHODS.get(str(content.get("method", "ncfm"))), content.get("variants")
    unknown = sorted(content.keys() - {"method", "variants"})
    if base is None or unknown or not isinstance(variants, dict) or not variants:
        raise NcfmError(f"{path}: expected a method of {', '.join(METHODS)} and a table of variants, nothing else.")
    found = {}
    for label, settings in variants.items():
        if not isinstance(settings, dict):
            raise NcfmError(f'{path}: expected settings of variant {label!r}, such as "distill.factor" = 1.')
        multiples = {key: value["times"] for key, value in settings.items() if _is_multiple(value)}
        plain = {key: value for key, value in settings.items() if key not in multiples}
        made = METHODS.get(str(plain.get("objective.name")), base)  # rows of another objective have its name
        method = Method(made.name, label, {**base.settings, **plain}, base.distilled, multiples)
        try:
            make_config(nest(method.settings_over(make_config(), {})))
        except NcfmError as error:
            raise NcfmError(f"{path}, variant {label!r}: {error}") from error
        found[label] = method
    return found


def _is_multiple(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["times"] and isinstance(value["times"], int | float)
