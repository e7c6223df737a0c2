"""The package as people get it: what is in a wheel, that it runs away from the source, and how it is cited."""

import fnmatch
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ncfm
from ncfm.cli.main import COMMANDS

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))
import check_dist  # noqa: E402

sys.path.pop(0)


def test_the_files_that_are_no_modules_are_known():
    # Whoever adds another kind of file sees here that wheels must have it.
    other = {name for name in check_dist.data_files() if not name.endswith(".py")}
    assert {
        "ncfm/kernels/cpu/loops.cpp",
        "ncfm/kernels/cpu/tiles.h",
        "ncfm/py.typed",
        "ncfm/config/recipe_files/digits-ipc1.toml",
        "ncfm/results/committed.csv",
    } <= other
    assert any(name.startswith("ncfm/config/recipe_files/ablations/") for name in other)
    assert {Path(name).suffix for name in other} <= {
        ".toml",
        ".cpp",
        ".h",
        ".csv",
        ".typed",
        ".html",
        ".css",
        ".js",
        ".md",
        ".json",
        ".j2",
    }


def test_the_citation_is_of_this_version_and_names_the_paper():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["type"], citation["version"]) == ("1.2.0", "software", ncfm.__version__)
    assert {"message", "title", "authors", "license"} <= set(citation)
    (paper,) = citation["references"]
    assert (paper["type"], paper["year"]) == ("conference-paper", 2025)
    assert "Neural Characteristic Function" in paper["title"]
    assert {"type": "other", "value": "arXiv:2502.20653"} in paper["identifiers"]
    assert [a["family-names"] for a in paper["authors"]] == ["Wang", "Yang", "Liu", "Sun", "Hu", "He", "Zhang"]


def test_the_container_is_built_from_the_wheel_alone():
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    assert {step for step, _ in steps} == {"FROM", "RUN", "COPY", "ENV", "USER", "WORKDIR", "ENTRYPOINT", "CMD"}
    (copied,) = (rest.split()[:-1] for step, rest in steps if step == "COPY")
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[0] == "!"}
    assert kept == set(copied) == {"constraints.txt", "dist/ncfm-*.whl"}
    assert fnmatch.fnmatch(f"dist/ncfm-{ncfm.__version__}-py3-none-any.whl", copied[1])
    (image,) = (rest for step, rest in steps if step == "FROM")
    assert image == "python:3.11-slim"  # the version of the tests; `requires-python` begins with it
    assert re.search(r"^torch==[\d.]+$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    commands = [rest for step, rest in steps if step == "RUN"]
    assert all(
        subprocess.run(["sh", "-n"], input=command, text=True, check=False).returncode == 0 for command in commands
    )
    assert dict(steps)["ENTRYPOINT"] == '["ncfm"]'
    assert json.loads(dict(steps)["CMD"])[0] in COMMANDS


@pytest.mark.slow
def test_a_wheel_has_everything_and_runs_away_from_the_source(tmp_path):
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert check_dist.missing(wheel) == []
    version, shape, recipes, methods, cells = check_dist.check(wheel).splitlines()
    assert version == f"ncfm {ncfm.__version__}"
    assert shape == "10 3 32 32"
    assert int(recipes) >= 10
    assert methods == "ncfm, random, herding, mosaic, full"
    assert re.fullmatch(r"[1-9]\d* cells", cells)
    assert wheel.stat().st_size < 30_000_000
    assert re.fullmatch(r"ncfm-\d+\.\d+\.\d+-py3-none-any\.whl", wheel.name)
