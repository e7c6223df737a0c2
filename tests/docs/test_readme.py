"""The README's promises: its example runs, and its table is what the results file says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import ncfm

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLE = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def test_there_is_one_example_of_about_fifteen_lines():
    assert len(EXAMPLE) == 1
    assert 10 <= len([line for line in EXAMPLE[0].splitlines() if line.strip()]) <= 15


def test_every_name_of_the_example_exists():
    compile(EXAMPLE[0], "README.md", "exec")
    names = set(re.findall(r"ncfm\.(\w+)", EXAMPLE[0]))
    assert names >= {"distill", "evaluate", "load", "compare", "ncfd"}
    assert names <= set(ncfm.__all__)


def anchors(page):
    """What GitHub calls a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def is_there(link):
    path, _, anchor = link.partition("#")
    page = ROOT / (path or "README.md")
    return page.is_file() and (not anchor or anchor in anchors(page))


def test_pictures_files_and_headings_it_links_are_there():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert any("#" in link for link in links)
    assert [link for link in links if not is_there(link)] == []
    assert not is_there("docs/reproduce.md#no-such-heading")
    assert not is_there("docs/no-such-page.md")


def test_the_results_table_is_made_from_the_results_file():
    check = [sys.executable, "-m", "tools.readme_tables", "--check"]
    done = subprocess.run(check, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLE[0], "README.md", "exec"), {})
    assert "herding" in capsys.readouterr().out
