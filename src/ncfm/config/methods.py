"""Methods by name: what `ncfm compare` compares, and the settings that make each what its paper describes.

A method is distilled or selected. One that is distilled has settings, among them the objective, whose loop
(`ncfm.config.loops`) says what networks it needs and what runs. One that is selected has a `Selection`.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, NcfmError, check_known, nearest
from ncfm._utils.outside import is_outside
from ncfm.config.keys import dotted, nest
from ncfm.config.layers import make_config
from ncfm.config.loops import loop_of
from ncfm.config.recipes import RECIPES
from ncfm.config.schema import ObjectiveConfig, RunConfig
from ncfm.config.selections import RealImages, Selection, TrainingSplit

ABLATIONS = RECIPES / "ablations"


@dataclass(frozen=True)
class Method:
    """A way to make a small set."""

    name: str  # of its results rows
    description: str
    settings: Mapping[str, Any] = field(default_factory=dict)  # dotted; the user's settings override them
    selection: Selection | None = None  # of real images; None if it is distilled
    multiples: Mapping[str, float] = field(default_factory=dict)  # dotted; of the values of recipe and user

    @property
    def distils(self) -> bool:
        """Whether the set is distilled, by iterations."""
        return self.selection is None

    def sections(self, config: RunConfig) -> tuple[str, ...]:
        """Beginnings of the dotted settings that can change the set, and so belong to the name of a variant."""
        return loop_of(config).sections if self.selection is None else self.selection.sections(config)

    def settings_over(self, config: RunConfig, own: Mapping[str, Any]) -> dict[str, Any]:
        """The method's settings under a user's ``own``; ``config`` has those and the recipe's.

        Raises:
            NcfmError: for a multiple of something that is not a number.
        """
        usual = dotted(config)
        multiplied = {key: _multiple(key, usual.get(key), factor) for key, factor in self.multiples.items()}
        return {**self.settings, **own, **multiplied}


def _multiple(key: str, value: Any, factor: float) -> Any:
    """A number times a factor; a whole number stays one, and at least 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"Expected a number to multiply by {factor}, but {key} is {value!r}.")
    if not math.isfinite(factor):
        raise InputError(f"Expected a finite number to multiply {key} by, got {factor}.")
    return max(round(factor * value), 1) if isinstance(value, int) else factor * value


# Students of trajectory matching see the images as they are stored, as in its papers.
_AS_STORED = {"distill.factor": 1, "distill.init": "real"}


def _in_place_of_ncfd(objective: str, matching_weight: float) -> dict[str, Any]:
    """Another objective in the loop of NCFM, with about the weight that NCFD has next to the calibration.

    Objectives have different scales. The weight makes the gradient on the images about as long as that of NCFD at its
    own weight of 10, as measured at the start of CIFAR-10 with 10 images per class by ``benchmarks.weights``.
    """
    return {"objective.name": objective, "distill.matching_weight": matching_weight}


def _closed_form(objective: str, matching_weight: float) -> dict[str, Any]:
    """An adversary in closed form: fixed frequencies, few enough for a covariance of their features."""
    fixed = {"frequencies.family": "gaussian", "frequencies.number": 256}
    return _in_place_of_ncfd(objective, matching_weight) | fixed


METHODS: dict[str, Method] = {
    "ncfm": Method("ncfm", "characteristic functions, learned frequencies"),
    "gaussian": Method("ncfm", "the same, fixed frequencies", {"frequencies.family": "gaussian"}),
    "mean": Method("mean", "mean matching, blended teachers, calibration (DANCE)", _in_place_of_ncfd("mean", 25.0)),
    "mse": Method("mse", "point matching", _in_place_of_ncfd("mse", 5.0)),
    "mmd": Method("mmd", "kernel matching (M3D)", _in_place_of_ncfd("mmd", 35.0)),
    "dsdm": Method("dsdm", "means and covariances, with a memory", _in_place_of_ncfd("dsdm", 10.0)),
    "fisher": Method(
        "fisher",
        "the best linear test on random features, in closed form",
        _closed_form("fisher", 15.0),
    ),
    "entropic": Method(
        "entropic",
        "frequencies weighted by their signal, in closed form",
        _closed_form("entropic", 2.5),
    ),
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
    "random": Method("random", "real images at random", selection=RealImages("random")),
    "herding": Method("herding", "real images nearest to the mean, one by one", selection=RealImages("herding")),
    "kcenter": Method("kcenter", "real images, farthest first", selection=RealImages("kcenter")),
    "kmeans": Method("kmeans", "real images nearest to k centres", selection=RealImages("kmeans")),
    "mosaic": Method("mosaic", "random real images, several in one", selection=RealImages("mosaic")),
    "rded": Method("rded", "realistic crops, several in one, hard labels", selection=RealImages("rded")),
    "rded-teacher": Method(
        "rded",
        "the same, students learn from the teachers (RDED)",
        {"evaluate.labels": "teacher"},
        selection=RealImages("rded"),
    ),
    "full": Method("full", "the training split, equal optimizer steps", selection=TrainingSplit()),
}

_BY_ROW: Mapping[str, Method] = {method.name: method for method in reversed(METHODS.values())}
"""The first of `METHODS` for each name of results rows; variants are named by how they differ from it."""

SHORT_NAMES = {("frequencies.family", "gaussian"): "gaussian"}
"""Settings with a word of their own in the name of a variant."""


def method_named(name: str) -> Method:
    """A method of `METHODS`, or ``module:callable``: the user's own objective in the loop of NCFM.

    Raises:
        NcfmError: for an unknown name.
    """
    if is_outside(name):
        return _of_objective(name)
    return METHODS[check_known(name, METHODS, "method")]


def method_of_row(name: str) -> Method:
    """The method that results rows of this name are compared with."""
    return _BY_ROW.get(name) or usual_method(name)


def usual_method(objective: str) -> Method:
    """The method that is an objective as its paper has it."""
    default = ObjectiveConfig().name
    for method in METHODS.values():
        if method.distils and method.settings.get("objective.name", default) == objective:
            return method
    return _of_objective(objective)


def _of_objective(name: str) -> Method:
    """An objective with the settings of NCFM, whose results rows have its name."""
    return Method(name, "an objective of your own", {"objective.name": name})


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
        raise InputError(
            f"Unknown ablation {name!r}.{nearest(name, ablation_names())} Known: {', '.join(ablation_names())}; "
            "or a path ending in .toml."
        )
    return path.read_text(encoding="utf-8")


def read_ablation(name: str) -> dict[str, Method]:
    """The variants of an ablation, by name or path: each its base method with other settings.

    An ablation is a TOML file::

        method = "ncfm"                              # of METHODS, or module:callable; default ncfm
        [variants."alpha=0"]
        "objective.amplitude_weight" = 0.0
        [variants."half the iterations"]
        "distill.iterations" = { times = 0.5 }       # of the value of recipe and user

    Raises:
        NcfmError: if it is missing or wrong, with all wrong settings of the first variant that has any.
    """
    path = _path(name)
    try:
        content = tomllib.loads(ablation_text(name))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"Could not read the ablation {path}: {error}.") from error
    named, variants = str(content.get("method", "ncfm")), content.get("variants")
    known = named in METHODS or is_outside(named)
    unknown = sorted(content.keys() - {"method", "variants"})
    if not known or unknown or not isinstance(variants, dict) or not variants:
        raise InputError(f"{path}: expected a method of {', '.join(METHODS)} and a table of variants, nothing else.")
    base = method_named(named)
    found = {}
    for label, settings in variants.items():
        if not isinstance(settings, dict):
            raise InputError(f'{path}: expected settings of variant {label!r}, such as "distill.factor" = 1.')
        multiples = {key: value["times"] for key, value in settings.items() if _is_multiple(value)}
        plain = {key: value for key, value in settings.items() if key not in multiples}
        of_data = [key for key in settings if key.startswith("data.")]
        if of_data:
            raise InputError(
                f"{path}, variant {label!r}: {of_data[0]} cannot vary, since the variants of a comparison share their "
                f"images; give it to a comparison of its own (--set {of_data[0]}=...)."
            )
        objective = plain.get("objective.name")
        row = base if objective is None else usual_method(str(objective))  # rows of another objective have its name
        method = Method(row.name, label, {**base.settings, **plain}, base.selection, multiples)
        try:
            make_config(nest(method.settings_over(make_config(), {})))
        except NcfmError as error:
            raise InputError(f"{path}, variant {label!r}: {error}") from error
        found[label] = method
    return found


def _is_multiple(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["times"] and isinstance(value["times"], int | float)
