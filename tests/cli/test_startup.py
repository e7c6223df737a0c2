"""What needs no PyTorch does not import it: it takes seconds of processor time."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
sys.argv = ["ncfm", *sys.argv[1:]]
from ncfm.cli.main import main
try:
    main()
except SystemExit as stop:
    code = stop.code or 0
found = {name.partition(".")[0] for name in sys.modules} - set(sys.stdlib_module_names) - set(sys.builtin_module_names)
own = [name for name in ("ncfm.config", "ncfm.data", "ncfm.workflows") if name in sys.modules]
print("loaded:", *sorted(found), *own)
sys.exit(code)
"""
# What Typer and Rich need to parse and to print; Typer imports a part of pydantic where it is installed.
LIGHT = {
    *("ncfm", "typer", "rich", "click", "annotated_doc", "shellingham", "pygments", "markdown_it", "mdurl"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["distill", "--help"], 0),
        (["compare", "--help"], 0),
        (["demo", "--help"], 0),
        (["recipes", "--help"], 0),
        ([], 2),
        (["distil", "digits"], 2),
        (["distill", "digits", "--icp", "1"], 2),
        (["distill", "digits"], 2),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_help_and_typos_are_answered_without_pytorch(arguments, code):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    loaded = set(done.stdout.splitlines()[-1].removeprefix("loaded:").split())
    ours = {name for name in loaded if not name.startswith("_")} - {"sitecustomize", "usercustomize"}
    assert ours <= LIGHT


def test_the_package_alone_imports_nothing():
    program = "import sys, ncfm; print(ncfm.NcfmError, [name for name in ('torch', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" []\n")
