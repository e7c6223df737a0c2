"""The documentation: its Python runs, its commands and settings exist, its links resolve, its words are the field's."""

import functools
import json
import re
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

import ncfm
from ncfm.cli.main import app
from ncfm.config.keys import known_keys
from tiny import SETTINGS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
RUNNING = [page for page in PAGES if BLOCK.search(page.read_text(encoding="utf-8"))]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"
OTHERS = [ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "gallery/README.md")]
PARTS = ("tutorials", "how-to", "explanation", "reference")

# Other settings than a page's own: short ones, so that whole runs take a second.
TINY = SETTINGS | {"evaluate.epochs": 1, "evaluate.runs": 1}


@pytest.fixture
def briefly(monkeypatch, tmp_path):
    """The public functions with tiny settings below those that are given, in an empty folder."""

    def brief(function, **more):
        @functools.wraps(function)
        def call(*arguments, settings=None, **options):
            return function(*arguments, settings=TINY | (settings or {}), **more, **options)

        return call

    for name, more in (("distill", {"recipe": "none"}), ("pretrain", {"recipe": "none"}), ("evaluate", {})):
        monkeypatch.setattr(ncfm, name, brief(getattr(ncfm, name), **more))
    monkeypatch.setattr(ncfm, "compare", brief(ncfm.compare, recipe="none"))
    monkeypatch.chdir(tmp_path)


def test_the_pages_with_examples_are_all_found():
    found = {str(page.relative_to(DOCS)) for page in RUNNING}
    assert found == {
        "index.md",
        "tutorials/first-dataset.md",
        "tutorials/own-images.md",
        "how-to/choose-objective.md",
        "how-to/discrepancy.md",
        "how-to/extend.md",
        "how-to/monitor.md",
        "how-to/share.md",
        "explanation/method.md",
    }
    assert len(PAGES) >= 35


@pytest.mark.parametrize("page", RUNNING, ids=[page.stem for page in RUNNING])
def test_python_of_a_page_runs_from_top_to_bottom(page, briefly, tmp_path):
    if page.name == "extend.md":  # whose modules are files in the current folder
        for module in (ROOT / "examples" / "extend").glob("*.py"):
            shutil.copy(module, tmp_path)
    if page.name == "share.md":  # which reads a distilled dataset and its exports
        shared = ncfm.distill("digits", ipc=2).synthetic
        ncfm.save(shared, "runs/cifar10-ipc10")
        for form, place in (
            ("hf", "cifar10-distilled"),
            ("parquet", "set.parquet"),
            ("npz", "set.npz"),
            ("pt", "set.pt"),
        ):
            ncfm.export(shared, place, to=form)
    scope = {}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*(no test split|set aside|more than once|fewer)")
        for block in BLOCK.findall(page.read_text(encoding="utf-8")):
            exec(compile(block, page.name, "exec"), scope)


def test_the_notebook_runs_cell_by_cell(briefly):
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert (notebook["nbformat"], len(cells) >= 5) == (4, True)
    scope = {}
    for cell in cells:
        assert (cell["outputs"], cell["execution_count"]) == ([], None)  # nothing of anybody's machine
        source = "".join(line for line in cell["source"] if not line.startswith("%"))
        exec(compile(source, "quickstart.ipynb", "exec"), scope)
    assert {"result", "score"} <= set(scope)


def commands():
    """Lines of the pages that begin with ncfm, with the page's name."""
    for page in [*PAGES, *OTHERS]:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^    (?:\S+=\S+ )?(?:\.venv/bin/)?(ncfm .*)$", text, flags=re.MULTILINE):
            yield page.name, line


def test_every_command_of_the_pages_exists():
    known = get_command(app).commands
    lines = list(commands())
    assert len(lines) >= 25
    for page, line in lines:
        name = line.split()[1]
        assert name in known, f"{page}: {line}"
        for option in re.findall(r"(?<= )--[a-z-]+", line.split("#")[0]):
            offered = {o for parameter in known[name].params for o in parameter.opts}
            assert option in offered, f"{page}: {line}"


def test_every_setting_of_the_pages_exists():
    keys, lines = set(known_keys()), list(commands())
    sections = {key.split(".")[0] for key in keys if "." in key}
    for page in PAGES:
        named = re.findall(r"`([a-z]+\.[a-z_]+)(?:=[^`]*)?`", page.read_text(encoding="utf-8"))
        named += [key for name, line in lines if name == page.name for key in re.findall(r"--set (\S+?)=", line)]
        known = {n for n in named if n in keys or n.rpartition(".")[0].endswith(".options")}
        wrong = [n for n in named if n.split(".")[0] in sections - {"data"} and n not in known and "(" not in n]
        files = (".md", ".py", ".html", ".safetensors", ".pt", ".csv", ".json")
        assert [n for n in wrong if not n.endswith(files)] == [], page


def test_every_page_is_in_the_navigation():
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    nav = yaml.safe_load(text)["nav"]
    listed = re.findall(r"[\w/-]+\.md", str(nav))
    assert sorted(listed) == sorted(str(page.relative_to(DOCS)) for page in PAGES)
    assert [title for entry in nav for title in entry] == [
        "Home",
        "Tutorials",
        "How-to guides",
        "Explanation",
        "Reference",
    ]
    assert "fonts.googleapis" not in text
    assert "cdn" not in text.lower()


def test_every_page_lies_in_one_of_the_four_parts():
    assert {path.name for path in DOCS.iterdir() if path.is_dir()} == {*PARTS, "images"}
    assert {page.name for page in DOCS.glob("*.md")} == {"index.md", "results.md", "gallery.md"}


@pytest.mark.parametrize("page", [*PAGES, *OTHERS[2:]], ids=lambda page: str(page.relative_to(ROOT)))
def test_the_first_line_of_a_page_says_who_needs_it(page):
    title, first = page.read_text(encoding="utf-8").split("\n\n")[:2]
    assert re.fullmatch(r"# [A-Z].*|# ncfm", title)
    assert first.startswith("For ")


def without_code(text):
    """A page's prose and tables, as typed by hand: no code, no generated block."""
    text = re.sub(r"<!-- (\S+): made by .*?<!-- end of \1 -->", "", text, flags=re.DOTALL)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"^    .*$|`[^`]*`", "", text, flags=re.MULTILINE)


def anchors(page):
    """The anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def dead_links(page, text):
    """The links of a text, which stands in a page, to files or headings that do not exist."""
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not link.startswith("https://") and not (
            target.is_file() and (not anchor or (target.suffix == ".md" and anchor in anchors(target)))
        ):
            dead.append(link)
    return dead


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_links_and_pictures_of_a_page_are_there(page):
    assert dead_links(page, without_code(page.read_text(encoding="utf-8"))) == []


def test_dead_links_are_found():
    text = "[a](method.md) [b](method.md#matching) [c](none.md) [d](method.md#none) ![e](../images/none.png) [f](https://x)"
    dead = dead_links(DOCS / "explanation" / "gap.md", text)
    assert dead == ["none.md", "method.md#none", "../images/none.png"]


def test_pages_that_the_code_names_exist():
    ends = (".py", ".toml", ".html", ".yaml", ".sbatch", ".ipynb")
    folders = [ROOT / name for name in ("src", "benchmarks", "tools", "examples")]
    files = [path for folder in folders for path in folder.rglob("*") if path.suffix in ends]
    files += [ROOT / "Makefile", ROOT / "pyproject.toml"]
    named = {(path.name, page) for path in files for page in re.findall(r"docs/[\w/-]+\.md", path.read_text("utf-8"))}
    assert len(named) >= 8
    assert [(name, page) for name, page in sorted(named) if not (ROOT / page).is_file()] == []


# Words that were once invented here for what has a standard term.
INVENTED = re.compile(
    r"""\b(anew | beside | whoever | judg\w+ | peers? | data\ sets? | foreign | films? | front\ functions? | taken\ back
    | (?:images?|steps?|row|set)\ an?\ (?:class|iteration|student) | (?:same|one|heavy)\ laws? | remembered | is\ told
    | looks\ at\ the\ test | mistakes?\ of\ ours | worth\ (?:points|nothing) )\b""",
    re.VERBOSE | re.IGNORECASE,
)


@pytest.mark.parametrize("page", [*PAGES, *OTHERS], ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_uses_standard_terms(page):
    assert INVENTED.findall(without_code(page.read_text(encoding="utf-8"))) == []


def test_invented_words_are_found():
    assert INVENTED.findall("A data set is judged anew, one image a class.") == [
        "data set",
        "judged",
        "anew",
        "image a class",
    ]
    assert INVENTED.findall("The dataset is evaluated again, one image per class, with the law of cosines.") == []


def test_the_generator_learns_the_moons(tmp_path):
    # Far fewer steps than the example's own: the discrepancy falls by half at least, and the picture is written.
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        import generator_2d
    finally:
        sys.path.pop(0)
    found = generator_2d.main(["--iterations", "60", "--points", "200", "--out", str(tmp_path / "moons.png")])
    assert found["after"] < found["before"] / 2
    assert 0.001 <= found["p_value"] <= 1
    assert (tmp_path / "moons.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "site"
    page = (site / "explanation" / "method.html").read_text(encoding="utf-8")
    assert "<math" in page
    assert "arithmatex" not in page
    assert not re.findall(r'(?:src|href)="https?://[^"]+\.(?:js|css|woff2?)', page)  # nothing from elsewhere
    settings, commands_page, functions = (
        (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
        for name in ("settings", "commands", "api/high-level")
    )
    assert [key for key in known_keys() if "." in key and f"<code>{key}</code>" not in settings] == []
    assert [name for name in get_command(app).commands if f'id="ncfm-{name}' not in commands_page] == []
    assert [name for name in ("distill", "evaluate", "write_report", "NcfmError") if f'.{name}"' not in functions] == []
