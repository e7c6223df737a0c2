"""The package as people get it: what is in a wheel, that it runs away from the source, and how it is cited."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import ncfm

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


@pytest.mark.slow
def test_a_wheel_has_everything_and_runs_away_from_the_source(tmp_path):
    pytest.importorskip("build")
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    assert check_dist.missing(wheel) == []
    version, shape, recipes = check_dist.check(wheel).splitlines()
    assert version == f"ncfm {ncfm.__version__}"
    assert shape == "10 3 32 32"
    assert int(recipes) >= 10
    assert re.fullmatch(r"ncfm-\d+\.\d+\.\d+-py3-none-any\.whl", wheel.name)
