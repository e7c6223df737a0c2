"""Settings of a run: resolved from recipe and defaults, written down, and compared with those of another."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ncfm._utils.checks import NcfmError, NcfmFailure
from ncfm._utils.files import read_json
from ncfm.config.methods import METHODS, Method
from ncfm.config.recipes import check_recipe, read_recipe, recipe_names
from ncfm.config.schema import RunConfig, dotted, make_config, nest
from ncfm.data.image_set import ImageSet
from ncfm.distillation.checkpoint import has_checkpoint

CONFIG_FILE = "config.json"

Settings = Mapping[str, Any]
"""Dotted settings, such as ``{"distill.iterations": 500}``."""

NUMERICS = ("machine.precision", "machine.tf32", "machine.compile", "machine.kernels", "machine.students")


def resolve_config(
    data: str | ImageSet, ipc: int | None, recipe: str | None, settings: Settings | None, seed: int | None
) -> RunConfig:
    """The configuration of a run: settings over recipe over defaults.

    Without a recipe the one named ``<data>-ipc<ipc>`` is taken if the package has it; ``"none"`` asks for defaults.

    Raises:
        NcfmError: for unknown recipes and keys, and wrong values, all at once.
    """
    name = data if isinstance(data, str) else data.name
    fitting = f"{name}-ipc{ipc}"
    if recipe is None and fitting in recipe_names():
        recipe = fitting
    layer = {} if recipe in (None, "none") else read_recipe(str(recipe))
    if layer:
        check_recipe(str(recipe))
    seeds = {} if seed is None else {"seed": seed}
    return make_config(layer, nest(settings or {}), seeds)


def describe_run(data: str, ipc: int, config: RunConfig) -> dict[str, Any]:
    """What a run folder says of its run, and what has to agree when it is resumed."""
    return {"data": data.removesuffix("@validation"), "ipc": ipc, "config": config.model_dump(mode="json")}


def judged_on(data: str, config: RunConfig) -> str:
    """What a row says that a set was judged on: ``<data>@validation`` where a part of the training split was."""
    held_out = config.data.validation is not None and not data.endswith("@validation")
    return f"{data}@validation" if held_out else data


def matches_trajectories(config: RunConfig) -> bool:
    """Whether the objective takes experts in place of teachers."""
    return config.objective.name in ("mtt", "datm")


def needs_teachers(config: RunConfig) -> bool:
    """Whether trained networks have a part in the distillation: not where fresh ones extract and nothing calibrates."""
    trained = config.teachers.extractor != "random" or config.distill.calibration_weight > 0
    return trained or matches_trajectories(config)


def usual_method(config: RunConfig) -> Method:
    """The method that is the objective as its paper has it."""
    return METHODS["ncfm" if config.objective.name == "ncfd" else config.objective.name]


def variant_of(
    data: str,
    ipc: int,
    config: RunConfig,
    *,
    distilled: bool = True,
    usual: Method | None = None,
    recipe: str | None = None,
) -> str:
    """What differs from a recipe, by default the package's for this data and IPC (or from the defaults if it has none),
    for results.

    Of a method that settings make (``usual``; by default `usual_method`) what differs from these too.

    Fixed frequencies are called "gaussian"; everything else is ``key=value``, joined by commas. How students are
    trained is left to the protocol's name, where a run computes to the machine's columns, but for the switches that
    change rounding. Of a set that is selected, not distilled, only those matter, and the teachers where students ask
    them.
    """
    usual = usual_method(config) if usual is None else usual
    base = resolve_config(data.removesuffix("@validation"), ipc, recipe, usual.settings, None)
    sections: tuple[str, ...] = ("teachers.", "distill.", "labels.", "objective.", "frequencies.")
    if matches_trajectories(config):
        sections += ("trajectory.",)
    if not distilled:
        sections = ("distill.factor", *(["teachers."] if config.evaluate.labels == "teacher" else []))
    changed = {
        key: value
        for key, value in dotted(config).items()
        if (key.startswith(sections) or key in (*NUMERICS, "data.zca")) and value != dotted(base)[key]
    }
    named = []
    if changed.get("frequencies.family") == "gaussian":
        named = ["gaussian"]
        del changed["frequencies.family"]
    changed.pop("teachers.seed", None)  # told by the seed
    if changed.get("distill.extend"):
        changed["distill.extend"] = Path(changed["distill.extend"]).name
    return ",".join([*named, *(f"{key}={value}" for key, value in changed.items())])


def check_folder(folder: Path | None, description: dict[str, Any], resume: bool) -> None:
    """Check that a run folder is free, or holds the run to resume.

    Raises:
        NcfmError: if it holds another run, or nothing to resume.
    """
    if folder is None:
        if resume:
            raise NcfmError("resume needs the folder of the interrupted run (--out).")
    elif resume:
        if not (folder / CONFIG_FILE).is_file():
            raise NcfmError(f"Nothing to resume: {folder} is no run folder (it has no {CONFIG_FILE}).")
        try:
            stored = read_json(folder / CONFIG_FILE)
        except NcfmFailure as error:
            warnings.warn(f"{error} Going on with the settings that are given now.", stacklevel=2)
            return
        if isinstance(stored, dict) and isinstance(stored.get("config"), dict):
            # Settings that did not exist then have their defaults: what that version did. A key that is gone differs.
            with contextlib.suppress(NcfmError):
                stored = stored | {"config": make_config(stored["config"]).model_dump(mode="json")}
        differing = _differences(stored, description)
        if differing:
            raise NcfmError(
                f"{folder} holds a run with other settings ({'; '.join(differing[:5])}); "
                "give the same ones, or choose another --out."
            )
    elif has_checkpoint(folder):
        raise NcfmError(
            f"{folder} already holds a run; continue it with --resume, or choose another folder with --out."
        )


def _differences(stored: Any, wanted: Any, place: str = "") -> list[str]:
    """Settings in which two descriptions differ, as ``key: stored, now wanted``.

    The machine may differ, and what comes after the images: how they are labelled and judged.
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = sorted(stored.keys() | wanted.keys())
        return [
            difference
            for key in keys
            if f"{place}{key}" not in ("config.machine", "config.labels", "config.evaluate")
            for difference in _differences(stored.get(key), wanted.get(key), f"{place}{key}.")
        ]
    return [] if stored == wanted else [f"{place[:-1]} was {stored!r}, now {wanted!r}"]
