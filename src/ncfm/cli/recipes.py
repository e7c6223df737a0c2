"""``ncfm recipes``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import write_text
from ncfm.cli._common import AsJson, console, print_json
from ncfm.config.methods import ablation_names, ablation_text, read_ablation
from ncfm.config.recipes import check_recipe, recipe_names, recipe_path
from ncfm.config.schema import describe_keys
from ncfm.workflows.reproduce import check_header

app = typer.Typer(no_args_is_help=True, help="List, show, copy and check recipes.")

Name = Annotated[str, typer.Argument(metavar="RECIPE", help="Name, or a path ending in .toml.")]


@app.command("list")
def list_(as_json: AsJson = False) -> None:
    """List the recipes and ablations of the package.

    Example: `ncfm recipes list`
    """
    titles = {name: _text(name).splitlines()[0].lstrip("# ") for name in recipe_names()}
    if as_json:
        print_json(titles)
        return
    titles |= {f"--ablation {name}": ablation_text(name).splitlines()[0].lstrip("# ") for name in ablation_names()}
    for name, title in titles.items():
        console.print(f"{name:<26} {title}", highlight=False, soft_wrap=True, markup=False)


@app.command()
def show(name: Name) -> None:
    """Print a recipe.

    Example: `ncfm recipes show digits-ipc1`
    """
    typer.echo(_text(name), nl=False)


@app.command()
def copy(name: Name, to: Annotated[Path, typer.Argument(metavar="FILE", help="Where to; must not exist.")]) -> None:
    """Copy a recipe to a file of your own, to edit and pass with --recipe.

    Example: `ncfm recipes copy digits-ipc1 mine.toml`
    """
    if to.exists():
        raise NcfmError(f"{to} exists already; choose another name.")
    write_text(to, _text(name))
    console.print(f"Wrote {to}; use it with --recipe {to}", highlight=False, soft_wrap=True, markup=False)


@app.command()
def check(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[RECIPE]...", help="Default: all of the package.")
    ] = None,
) -> None:
    """Check that recipes are valid: every key known, every value in range; of those of the package also their headers.

    Example: `ncfm recipes check mine.toml`
    """
    chosen = names or recipe_names()
    problems = []
    for name in chosen:
        try:
            check_recipe(name)
            if not name.endswith(".toml"):
                check_header(name)
        except NcfmError as error:
            problems.append(str(error))
    for name in [] if names else ablation_names():
        try:
            read_ablation(name)
        except NcfmError as error:
            problems.append(str(error))
    if problems:
        raise NcfmError("\n".join(problems))
    more = "" if names else f" and {len(ablation_names())} ablations"
    console.print(f"{len(chosen)} recipes{more} are valid.", highlight=False)


@app.command()
def keys() -> None:
    """List every setting with its default.

    Example: `ncfm recipes keys`
    """
    for key, description in describe_keys():
        console.print(f"{key:<34} {description}", highlight=False, markup=False, soft_wrap=True)


def _text(name: str) -> str:
    return recipe_path(name).read_text(encoding="utf-8")
