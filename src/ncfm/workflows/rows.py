"""The rows of the results table that `ncfm reproduce` can make.

A row is a recipe of the package whose header names `ncfm reproduce` as its command. Its earlier result is one of the
committed rows, a file that comes with the package.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ncfm._utils.checks import InputError, NcfmError, nearest
from ncfm.config.methods import ablation_names, read_ablation
from ncfm.config.recipes import check_recipe, recipe_names, recipe_path
from ncfm.config.resolve import resolve_config
from ncfm.results.files import read_rows
from ncfm.results.published import published

COMMITTED = Path(__file__).parents[1] / "results" / "committed.csv"
"""Rows of ``results/accuracy.csv`` by recipe, as of this version."""

FIELDS = ("Command", "Paper", "Expected", "Time", "Hardware")
NAME = re.compile(r"(?P<data>.+)-ipc(?P<ipc>\d+)(-(?P<schedule>.+))?")


@dataclass(frozen=True)
class Row:
    """A row that can be reproduced: a dataset and images per class, with a recipe of the package."""

    name: str  # of the recipe
    data: str
    ipc: int
    schedule: str  # "" for the usual one, "paper"
    header: Mapping[str, str]  # of the recipe, by `FIELDS`

    @property
    def paper(self) -> float | None:
        """The accuracy in the paper, in percent; None if it has none."""
        config = resolve_config(self.data, self.ipc, self.name, None, None)
        return published(self.data, self.ipc, config.evaluate.network)


def rows() -> list[Row]:
    """All rows, by dataset, images per class and schedule."""
    found = []
    for name in recipe_names():
        header, parsed = read_header(name), NAME.fullmatch(name)
        if parsed is not None and header.get("Command") == f"ncfm reproduce {name}":
            found.append(Row(name, parsed["data"], int(parsed["ipc"]), parsed["schedule"] or "", header))
    return sorted(found, key=lambda row: (row.data, row.ipc, row.schedule))


def find_row(name: str) -> Row:
    """A row by its name.

    Raises:
        NcfmError: if there is none, with the nearest name.
    """
    known = {row.name: row for row in rows()}
    if name not in known:
        raise InputError(f"Unknown row {name!r}.{nearest(name, known)} `ncfm reproduce --list` shows all.")
    return known[name]


def read_header(recipe: str) -> dict[str, str]:
    """The fields of a recipe's leading comment by name: ``# Expected: ...``, with its continuation lines."""
    found: dict[str, str] = {}
    field = None
    for line in recipe_path(recipe).read_text(encoding="utf-8").splitlines()[1:]:
        if not line.startswith("#"):
            break
        named = re.match(rf"# ({'|'.join(FIELDS)}):\s+(.*)", line)
        if named:
            field = named[1]
            found[field] = named[2].strip()
        elif field and line.startswith("#  "):
            found[field] += " " + line.lstrip("# ").strip()
        else:
            field = None
    return found


def check_header(recipe: str) -> None:
    """Check the header of a recipe of the package.

    Raises:
        NcfmError: if command, expected accuracy or hardware are missing, if the command does not use this recipe, if a
            row that has not been run has no predicted time, or if the paper's number differs from the published one.
    """
    header, problems = read_header(recipe), []
    problems += [f"no line `# {field}: ...`" for field in ("Command", "Expected", "Hardware") if field not in header]
    words = shlex.split(header.get("Command", ""))
    parsed = NAME.fullmatch(recipe)
    if words and recipe not in words:
        problems.append(f"its command `{' '.join(words)}` does not name it")
    if header.get("Expected", "").startswith("not run yet") and "Time" not in header:
        problems.append("not run yet, and no line `# Time: ...`")
    if words[:2] == ["ncfm", "reproduce"] and parsed is not None:
        network = resolve_config(parsed["data"], int(parsed["ipc"]), recipe, None, None).evaluate.network
        value = published(parsed["data"], int(parsed["ipc"]), network)
        stated = re.match(r"[\d.]+", header.get("Paper", ""))
        if value != (None if stated is None else float(stated.group())):
            problems.append(f"the paper reports {value}, the header {header.get('Paper', 'nothing')!r}")
    if problems:
        raise InputError(f"Recipe {recipe}: {'; '.join(problems)}.")


def committed_row(name: str) -> dict[str, str] | None:
    """The committed row of a recipe; None if there is none yet."""
    found = [row for row in read_rows(COMMITTED) if row["row"] == name] if COMMITTED.is_file() else []
    return found[-1] if found else None


def check_recipes(names: Sequence[str] | None = None) -> tuple[int, int]:
    """Check recipes: every key is known and every value in range; those of the package have complete headers.

    Args:
        names: names, or paths ending in .toml; default all recipes and ablations of the package.

    Returns:
        How many recipes and how many ablations were checked.

    Raises:
        NcfmError: listing the problems of all recipes.
    """
    recipes = recipe_names() if names is None else list(names)
    ablations = ablation_names() if names is None else []
    problems = [*map(_problem_of_recipe, recipes), *map(_problem_of_ablation, ablations)]
    if any(problems):
        raise InputError("\n".join(filter(None, problems)))
    return len(recipes), len(ablations)


def _problem_of_recipe(name: str) -> str:
    try:
        check_recipe(name)
        if not name.endswith(".toml"):
            check_header(name)
    except NcfmError as error:
        return str(error)
    return ""


def _problem_of_ablation(name: str) -> str:
    try:
        read_ablation(name)
    except NcfmError as error:
        return str(error)
    return ""
