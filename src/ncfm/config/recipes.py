"""Recipes: settings in TOML files, by name or path."""

from __future__ import annotations

import contextlib
import functools
import tomllib
from pathlib import Path
from typing import Any

from ncfm._utils.checks import InputError, NcfmError, nearest
from ncfm.config.layers import make_config, merged

RECIPES = Path(__file__).parent / "recipe_files"


def recipe_names() -> tuple[str, ...]:
    """The recipes that come with the package."""
    return _names(RECIPES)


@functools.cache
def _names(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.stem for p in folder.glob("*.toml")))


def recipe_path(name: str) -> Path:
    """The file of a recipe: a name from `recipe_names`, or a path that ends in .toml.

    Raises:
        NcfmError: if there is none (with the nearest known name).
    """
    if name.endswith(".toml"):
        with contextlib.suppress(OSError, RuntimeError):  # a name that is too long; a home of nobody
            path = Path(name).expanduser()
            if path.is_file():
                return path
        raise InputError(f"Expected a recipe file {name}, but there is none.")
    if name not in recipe_names():
        known = ", ".join(recipe_names())
        raise InputError(
            f"Unknown recipe {name!r}.{nearest(name, recipe_names())} Known: {known}; or a path ending in .toml."
        )
    return RECIPES / f"{name}.toml"


def check_recipe(name: str) -> None:
    """Check a recipe, by name or path.

    Raises:
        NcfmError: naming the recipe and all its mistakes.
    """
    try:
        make_config(read_recipe(name))
    except NcfmError as error:
        raise InputError(f"Recipe {name}: {error}") from error


def read_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe, by name or path, over those of the one that it names by ``extends``.

    ``extends = "paper"`` is the package's, ``extends = "base.toml"`` a file seen from the recipe's own folder.

    Raises:
        NcfmError: if it is missing, is not TOML, or extends itself.
    """
    return _read_recipe(recipe_path(name), ())


def _read_recipe(path: Path, above: tuple[Path, ...]) -> dict[str, Any]:
    try:
        resolved = path.resolve()
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RuntimeError, ValueError) as error:
        raise InputError(f"Could not read the recipe {path}: {error}.") from error
    base = settings.pop("extends", None)
    if base is None:
        return settings
    if not isinstance(base, str):
        raise InputError(f'Recipe {path}: expected extends = "NAME" or "FILE.toml", got {base!r}.')
    if resolved in above:
        raise InputError(f"Recipe {path} extends itself, by way of {', '.join(p.name for p in above)}.")
    extended = recipe_path(str(path.parent / base) if base.endswith(".toml") else base)
    return merged(_read_recipe(extended, (*above, resolved)), settings)
