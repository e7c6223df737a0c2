"""The layers of CONTRIBUTING.md, from the import contract and the docstrings of the packages."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

from tools.pages.sources import ROOT

PAGE = "CONTRIBUTING.md"


def tables() -> dict[str, str]:
    """The parts of the page by place."""
    return {"layers": layers()}


def layers() -> str:
    """The layers of the import contract, the highest first, a block each, with the summaries of the packages."""
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layered,) = contract["contracts"]
    names = [[name.strip() for name in layer.split("|")] for layer in layered["layers"]]
    width = max(len(name) for layer in names for name in layer)
    blocks = ("\n".join(f"{n:<{width}}  {summary(ROOT / 'src' / 'ncfm' / n)}" for n in layer) for layer in names)
    return "```text\n" + "\n\n".join(blocks) + "\n```\n"


def summary(package: Path) -> str:
    """The first paragraph of a package's docstring, as one line."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8")))
    return " ".join((docstring or "").split("\n\n")[0].split())
