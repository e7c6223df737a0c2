"""``ncfm recipes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import ncfm
from ncfm._utils.progress import counted
from ncfm.cli._completion import recipes
from ncfm.cli._options import AsJson
from ncfm.cli._output import print_json, say

app = typer.Typer(no_args_is_help=True, help="List, show, copy and check recipes.")

Name = Annotated[
    str, typer.Argument(metavar="RECIPE", autocompletion=recipes, help="Recipe name, or a path ending in .toml.")
]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recipes and ablations of the package.

    Example: `ncfm recipes list`
    """
    from ncfm.config.methods import ablation_names, ablation_text
    from ncfm.config.recipes import recipe_names

    titles = {name: _title(_text(name)) for name in recipe_names()}
    if as_json:
        print_json(titles)
        return
    titles |= {f"--ablation {name}": _title(ablation_text(name)) for name in ablation_names()}
    for name, title in titles.items():
        say(f"{name:<26} {title}", wrap=False)


@app.command()
def show(name: Name) -> None:
    """Print a recipe.

    Example: `ncfm recipes show digits-ipc1`
    """
    typer.echo(_text(name), nl=False)


@app.command()
def copy(name: Name, to: Annotated[Path, typer.Argument(metavar="FILE", help="New file; must not exist.")]) -> None:
    """Copy a recipe to a new file, to edit and pass with --recipe.

    Example: `ncfm recipes copy digits-ipc1 mine.toml`
    """
    from ncfm._utils.files import write_text

    if to.exists():
        raise ncfm.InputError(f"{to} exists already; choose another name.")
    write_text(to, _text(name))
    say(f"Wrote {to}; use it with --recipe {to}", wrap=False)


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="Default: all recipes and ablations.")
    ] = None,
) -> None:
    """Check recipes: every key is known and every value in range; those of the package have complete headers.

    Example: `ncfm recipes check mine.toml`
    """
    from ncfm.workflows.rows import check_recipes

    recipes, ablations = check_recipes(names or None)
    also = f" and {counted(ablations, 'ablation')}" if ablations else ""
    say(f"Valid: {counted(recipes, 'recipe')}{also}.")


@app.command()
def keys() -> None:
    """List every setting with its default.

    Example: `ncfm recipes keys`
    """
    from ncfm.config.keys import describe_keys

    for key, description in describe_keys():
        say(f"{key:<34} {description}", wrap=False)


def _text(name: str) -> str:
    from ncfm.config.recipes import recipe_path

    return recipe_path(name).read_text(encoding="utf-8")


def _title(text: str) -> str:
    return text.splitlines()[0].lstrip("# ")
