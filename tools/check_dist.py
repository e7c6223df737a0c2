"""Try a wheel as somebody gets it: ``python tools/check_dist.py dist``.

The wheel is installed into a new environment that borrows only the dependencies of this one (nothing is downloaded),
and runs in an empty folder, far from the source: a set of the gallery, ``ncfm demo`` and the notebook, both shortened.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "ncfm"
SMOKE = """
import ncfm, pathlib, sys
from ncfm.config.recipes import recipe_names
from ncfm.kernels import library
assert str(pathlib.Path(ncfm.__file__).parent).startswith(sys.prefix), ncfm.__file__
synthetic = ncfm.load("gallery:cifar10-ipc10")
print(len(synthetic.class_names), *synthetic.decoded().images.shape[1:])
print(len(recipe_names()))
"""
NOTEBOOK = """
import functools, json, sys
import ncfm
for name in ("distill", "evaluate", "compare"):
    setattr(ncfm, name, functools.partial(getattr(ncfm, name), settings=json.loads(sys.argv[2])))
with open(sys.argv[1], encoding="utf-8") as file:
    cells = [cell for cell in json.load(file)["cells"] if cell["cell_type"] == "code"]
scope = {}
for cell in cells:
    exec(compile("".join(cell["source"]), "quickstart.ipynb", "exec"), scope)
print(len(cells), "cells")
"""
SHORT = {  # of a run in seconds
    "teachers.number": 1,
    "teachers.epochs": 1,
    "distill.iterations": 2,
    "evaluate.epochs": 2,
    "evaluate.runs": 1,
}


def data_files() -> set[str]:
    """Every file of the package, as a wheel names it; not what running it leaves behind."""
    found = (path for path in PACKAGE.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {f"ncfm/{path.relative_to(PACKAGE).as_posix()}" for path in found}


def missing(wheel: Path) -> list[str]:
    """Files of the package that the wheel lacks: modules, recipes, the kernels' C++ source, the marker of types."""
    with zipfile.ZipFile(wheel) as archive:
        return sorted(data_files() - set(archive.namelist()))


def installed(wheel: Path, folder: Path) -> Path:
    """A new environment in ``folder`` with the wheel, and the dependencies of this one; its folder of programs."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    scripts = folder / "bin"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
    # A path in a .pth file is searched, but its own .pth files are not read: an editable install here stays unseen.
    borrowed = [place for place in sys.path if place.endswith("site-packages")]
    (site / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    install = ["-m", "pip", "--python", scripts / "python", "install", "--quiet", "--no-deps", "--no-index"]
    run(sys.executable, *install, "--disable-pip-version-check", "--ignore-installed", wheel)
    return scripts


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Standard output of a command that must succeed, run as if from a fresh shell."""
    surroundings = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def check(wheel: Path) -> str:
    """Install and use a wheel; what it said. Ends the program if anything is not as it should be."""
    lacking = missing(wheel)
    if lacking:
        sys.exit(f"{wheel.name} lacks {', '.join(lacking)}; see [tool.hatch.build.targets.wheel].")
    with tempfile.TemporaryDirectory() as folder:
        scripts = installed(wheel, Path(folder) / "fresh")
        version = run(scripts / "ncfm", "--version", cwd=Path(folder))
        used = run(scripts / "python", "-c", SMOKE, cwd=Path(folder))
        demo = run(scripts / "ncfm", "demo", "--json", *settings(SHORT), cwd=Path(folder))
        notebook = ROOT / "examples" / "quickstart.ipynb"
        cells = run(scripts / "python", "-c", NOTEBOOK, notebook, json.dumps(SHORT), cwd=Path(folder))
    methods = ", ".join(row["name"] for row in json.loads(demo))
    return f"{version}\n{used}\n{methods}\n{cells.splitlines()[-1]}"


def settings(values: dict[str, int]) -> list[str]:
    """Settings as options of a command."""
    return [word for key, value in values.items() for word in ("--set", f"{key}={value}")]


def main() -> None:
    """Check the wheel of a folder."""
    wheels = sorted(Path(sys.argv[1]).glob("*.whl"))
    if not wheels:
        sys.exit(f"No wheel in {sys.argv[1]}; make one with: python -m build")
    print(check(wheels[-1]))


if __name__ == "__main__":
    main()
