"""The README: its example runs, its form, and the parts of the documentation that `make results` writes."""

import re
import sys
from pathlib import Path

import pytest

import ncfm
from tools import readme_tables

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


def test_its_sections_are_in_order_and_it_is_short():
    assert re.findall(r"^## (.+)$", README, flags=re.MULTILINE) == [
        "Install",
        "Two commands",
        "Python",
        "Results",
        "Limits",
        "Documentation",
        "Citation",
        "Licence",
    ]
    assert 60 <= len(README.splitlines()) <= 120
    assert "![" in README[README.index("## Two commands") : README.index("## Python")]
    assert "](docs/results.md)" in README


def test_the_results_table_has_six_rows():
    lines = README[README.index("| data |") :].split("\n\n")[0].splitlines()
    assert len(lines) == 2 + 6
    assert "| cifar10 | 10 | 66.5 ± 0.5 | 65.4 to 67.7 | 71.8 | 35.9 ± 0.4 |" in lines


def test_what_make_results_writes_is_up_to_date(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["readme_tables", "--check"])
    readme_tables.main()  # ends with a message if it is not


def test_every_page_with_tables_is_written():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "tools" / "pages").glob("*.py")]
    pages = {page for text in texts for page in re.findall(r'^PAGE = "(.+)"$', text, flags=re.MULTILINE)}
    assert sorted(pages) == sorted(module.PAGE for module in readme_tables.PAGES)


def test_the_layers_are_those_of_the_import_contract():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    block = text.split("```text\n")[1].split("```")[0]
    packages = {path.parent.name for path in (ROOT / "src" / "ncfm").glob("*/__init__.py")}
    listed = [line.split()[0] for line in block.splitlines() if line]
    assert sorted(listed) == sorted(packages)
    assert (listed[0], listed[-1]) == ("cli", "_utils")
    assert all(line.endswith(".") for line in block.splitlines() if line)  # each with a sentence


@pytest.mark.slow
def test_the_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(EXAMPLE[0], "README.md", "exec"), {})
    assert "herding" in capsys.readouterr().out
