"""Settings of a run: resolved from recipe and defaults, recorded, and compared with those of another run."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, NcfmError, RunError
from ncfm._utils.files import read_json
from ncfm._utils.outside import is_outside, only_recorded
from ncfm.config.choices import RECIPE, Choice, chosen_settings
from ncfm.config.keys import dotted, nest
from ncfm.config.layers import make_config
from ncfm.config.methods import SHORT_NAMES, Method, method_of_row, usual_method
from ncfm.config.more_iterations import RAISED_AT, with_more_iterations
from ncfm.config.recipes import check_recipe, read_recipe, recipe_names
from ncfm.config.schema import DataConfig, RunConfig
from ncfm.config.teacher_pools import with_pool
from ncfm.data.image_set import ImageSet
from ncfm.data.sources import known_names
from ncfm.distillation.checkpoint import has_checkpoint
from ncfm.networks.registry import is_user_code
from ncfm.synthetic.counts import Spec, in_words, usual_ipc
from ncfm.synthetic.folders import CONFIG_FILE

CHOICES = "choices"  # settings that were chosen for the data, in the facts of a set and in the configuration of a run
FINGERPRINT = "data_fingerprint"  # of the data, in the facts of a set and in the configuration of a run

Settings = Mapping[str, Any]
"""Dotted settings, such as ``{"distill.iterations": 500}``."""

# Settings outside a method's sections that change its sets; that of the validation is in the name of the data.
OTHERS = (*(f"data.{name}" for name in DataConfig.model_fields if name != "validation"), "machine.teachers")
NUMERICS = ("machine.precision", "machine.tf32", "machine.compile", "machine.kernels", "machine.students")


def name_of(data: str | ImageSet) -> str:
    """The name of data."""
    return data if isinstance(data, str) else data.name


def fitting_recipe(data: str | ImageSet, ipc: Spec | None) -> str | None:
    """The recipe of the package for the data and their images per class; None if it has none."""
    name = f"{name_of(data)}-ipc{None if ipc is None else usual_ipc(ipc)}"
    return name if name in recipe_names() else None


def resolve_config(
    data: str | ImageSet,
    ipc: Spec | None,
    recipe: str | None,
    settings: Settings | None,
    seed: int | None,
    choices: Sequence[Choice] = (),
) -> RunConfig:
    """The configuration of a run: settings over choices over recipe over defaults.

    Without a recipe the `fitting_recipe` is taken if there is one; ``"none"`` takes the plain defaults.

    Args:
        data, ipc, recipe, settings, seed: as in `ncfm.distill`.
        choices: settings that were chosen for the data, or another recipe, see `ncfm.config.choices`.

    Raises:
        NcfmError: for unknown recipes and keys, and wrong values, all at once.
    """
    chosen = chosen_settings(choices)
    recipe = chosen.pop(RECIPE, recipe)
    if recipe is None:
        recipe = fitting_recipe(data, ipc)
    layer = {} if recipe in (None, "none") else read_recipe(str(recipe))
    if layer:
        check_recipe(str(recipe))
    seeds, given = {} if seed is None else {"seed": seed}, nest(settings or {})
    return with_pool(make_config(layer, nest(chosen), given, seeds), _teachers(given))


def _teachers(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """The user's settings of section teachers."""
    found = settings.get("teachers", {})
    return found if isinstance(found, Mapping) else {}


def describe_run(data: str, ipc: Spec, config: RunConfig) -> dict[str, Any]:
    """What a run folder records of its run, and what has to agree when it is resumed."""
    per_class = list(ipc) if isinstance(ipc, tuple) else ipc
    return {"data": data.removesuffix("@validation"), "ipc": per_class, "config": config.model_dump(mode="json")}


def judged_on(data: str, config: RunConfig) -> str:
    """The data that a row names: ``<data>@validation`` if a set is evaluated on a part of the training split."""
    held_out = config.data.validation is not None and not data.endswith("@validation")
    return f"{data}@validation" if held_out else data


NETWORKS = ("teachers.network", "evaluate.network")
"""Settings that can name code, and are needed after a set was distilled."""


def config_of_set(recorded: Mapping[str, Any], settings: Settings | None, seed: int | None) -> RunConfig:
    """The configuration that a set or a run folder records, under the user's settings.

    Code that only the record names is never imported. A network ``module:callable`` that the user does not name too is
    replaced by `only_recorded`, so that creating it is refused. Objective and sampler are for distilling only, and have
    their defaults.

    Args:
        recorded: nested, of the version that made the set or an earlier one.
        settings, seed: the user's own.

    Raises:
        NcfmError: for unknown keys and wrong values, all at once.
    """
    used = {key: value for key, value in recorded.items() if key not in ("objective", "frequencies")}
    given = nest(settings or {})
    config = make_config(used, given, {} if seed is None else {"seed": seed})
    if "pool" in _teachers(given):
        config = with_pool(config, _teachers(given))
    for setting in NETWORKS:
        section, key = setting.split(".")
        named = given.get(section, {})
        name = getattr(getattr(config, section), key)
        if is_user_code(name) and not (isinstance(named, Mapping) and key in named):
            refused = getattr(config, section).model_copy(update={key: only_recorded(setting, name)})
            config = config.model_copy(update={section: refused})
    return config


def data_of_set(facts: Mapping[str, Any], on: str | ImageSet | None) -> str | ImageSet:
    """The data to use with a set: those that the user names, else those that it was made from.

    Raises:
        NcfmError: if neither is known, the set names code, which only the user may, or a path of another folder.
    """
    if on is not None:
        return on
    data = facts.get("data")
    if data is None:
        raise InputError("The set does not record what data it was made from; name the data (--on).")
    if is_outside(str(data)) and not str(data).startswith("hf:"):
        raise InputError(
            f"The set records the data {data!r}. Code that a set names is imported only if you name it yourself: "
            f"--on {data}."
        )
    _check_place(str(data), facts.get("data_folder"))
    return str(data)


def data_folder(data: str) -> dict[str, str]:
    """The folder to which the path of data is relative, for the facts of a set; empty for data without such a path.

    The user's home is written as ``~``: sets are shared.
    """
    path = Path(data)
    if _is_name(data) or path.is_absolute() or not path.exists():
        return {}
    here, home = Path.cwd(), Path.home()
    return {"data_folder": str(Path("~") / here.relative_to(home) if here.is_relative_to(home) else here)}


def _is_name(data: str) -> bool:
    return data.startswith(("hf:", "~")) or data in known_names()


def _check_place(data: str, folder: object) -> None:
    """Check that the data of a set are here, if they are a path that is relative to ``folder``, see `data_folder`."""
    if folder is None or Path(data).exists():
        return
    raise InputError(
        f"The set records the data {data!r}, a path relative to {folder}, where it was distilled, and not to the "
        f"current folder. Run the command there, or name the data: --on {folder}/{data}."
    )


def variant_of(
    data: str, ipc: Spec, config: RunConfig, *, method: Method | None = None, recipe: str | None = None
) -> str:
    """The name of a variant in results: how a configuration differs from a recipe, and from the method's settings.

    Some settings have a word of `SHORT_NAMES`; all others are ``key=value``, joined by commas. Settings that cannot
    change the set are left out: the training of students is in the protocol's name, the machine in other columns. The
    switches that change rounding are kept.

    Args:
        data, ipc: as in `resolve_config`.
        config: of the run.
        method: default the `usual_method` of the objective.
        recipe: default the package's for this data and IPC, or the defaults if it has none.
    """
    method = usual_method(config.objective.name) if method is None else method
    usual = method_of_row(method.name).settings
    base = dotted(resolve_config(data.removesuffix("@validation"), ipc, recipe, usual, None))
    changed = _changed(dotted(config), base, method.sections(config))
    words = {key: word for (key, value), word in SHORT_NAMES.items() if changed.get(key) == value}
    others = [f"{key}={value}" for key, value in changed.items() if key not in words]
    unequal = [] if isinstance(ipc, int) else [f"ipc={in_words(ipc)}"]
    return ",".join([*words.values(), *others, *unequal])


def _changed(own: Mapping[str, Any], base: Mapping[str, Any], sections: tuple[str, ...]) -> dict[str, Any]:
    """What of ``own`` differs from ``base`` and can change the set, without the seed, which rows have; folders by their
    last part."""
    found: dict[str, Any] = {
        key: own.get(key)
        for key in dict.fromkeys([*own, *base])
        if own.get(key) != base.get(key) and (key.startswith(sections) or key in (*NUMERICS, *OTHERS))
    }
    found.pop("teachers.seed", None)
    folders = [key for key in ("distill.extend", "teachers.pool") if found.get(key)]
    return found | {key: Path(found[key]).name for key in folders}


def check_folder(
    folder: Path | None, description: dict[str, Any], resume: bool, *, more_iterations: bool = False
) -> None:
    """Check that a run folder is free, or holds the run to resume.

    Args:
        folder: of the run.
        description: of the run, by `describe_run`.
        resume: whether it is resumed.
        more_iterations: whether it may be resumed with more iterations than it had.

    Raises:
        NcfmError: if it holds another run, or nothing to resume.
    """
    if folder is None:
        if resume:
            raise InputError("resume needs the folder of the interrupted run (--out).")
    elif resume:
        if not (folder / CONFIG_FILE).is_file():
            raise InputError(f"Nothing to resume: {folder} is not a run folder (it has no {CONFIG_FILE}).")
        try:
            stored = read_json(folder / CONFIG_FILE)
        except RunError as error:
            warnings.warn(f"{error} The run goes on with the settings that are given now.", stacklevel=2)
            return
        if isinstance(stored, dict) and isinstance(stored.get("config"), dict):
            # Settings that did not exist yet have their defaults, as in that version. A key that is gone differs.
            with contextlib.suppress(NcfmError):
                stored = stored | {"config": make_config(stored["config"]).model_dump(mode="json")}
        if more_iterations and isinstance(stored, dict):
            stored = with_more_iterations(stored, description)
        differing = _differences(stored, description)
        if differing:
            raise InputError(
                f"{folder} holds a run with other settings ({'; '.join(differing[:5])}); "
                f"give the same ones{' or more iterations' if more_iterations else ''}, or choose another --out."
            )
    elif has_checkpoint(folder):
        raise InputError(
            f"{folder} already holds a run; continue it with --resume, or choose another folder with --out."
        )


FREE = ("config.machine", "config.labels", "config.evaluate", FINGERPRINT, RAISED_AT, CHOICES)
"""What may differ in the description of a run that is resumed, see `_differences`."""


def _differences(stored: Any, wanted: Any, place: str = "") -> list[str]:
    """Settings in which two descriptions differ, as ``key: stored, now wanted``.

    The machine may differ, what comes after the images (their labels and their evaluation), and when a run was given
    more iterations. The fingerprint is compared when the data are loaded.
    """
    if isinstance(stored, dict) and isinstance(wanted, dict):
        keys = sorted(stored.keys() | wanted.keys())
        return [
            difference
            for key in keys
            if f"{place}{key}" not in FREE
            for difference in _differences(stored.get(key), wanted.get(key), f"{place}{key}.")
        ]
    return [] if stored == wanted else [f"{place[:-1]} was {stored!r}, now {wanted!r}"]
