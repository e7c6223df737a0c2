"""What needs no PyTorch does not import it: it takes seconds of processor time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

# Runs one command after another, and prints how each ended and what is loaded by then.
PROGRAM = """
import json, sys
from ncfm.cli.main import main
standard = {*sys.stdlib_module_names, *sys.builtin_module_names}
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["ncfm", *arguments]
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    found = {name.partition(".")[0] for name in sys.modules} - standard
    own = [name for name in ("ncfm.config", "ncfm.data", "ncfm.workflows") if name in sys.modules]
    print("ended:", json.dumps([arguments, code, [*sorted(found), *own]]), flush=True)
"""
ENDS = {
    ("--version",): 0,
    ("--help",): 0,
    ("distill", "--help"): 0,
    ("compare", "--help"): 0,
    ("demo", "--help"): 0,
    ("recipes", "--help"): 0,
    (): 2,
    ("distil", "digits"): 2,
    ("distill", "digits", "--icp", "1"): 2,
    ("distill", "digits"): 2,
}
# What Typer and Rich need to parse and to print; Typer imports a part of pydantic where it is installed.
LIGHT = {
    *("ncfm", "typer", "rich", "click", "annotated_doc", "shellingham", "pygments", "markdown_it", "mdurl"),
    *("pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"),
}


@pytest.fixture(scope="module")
def ends():
    """The code of each command, and what was loaded then."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, json.dumps(list(ENDS))], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = [line.removeprefix("ended: ") for line in done.stdout.splitlines() if line.startswith("ended: ")]
    return {tuple(arguments): (code, loaded) for arguments, code, loaded in map(json.loads, lines)}


@pytest.mark.parametrize("arguments", ENDS, ids=" ".join)
def test_help_and_typos_are_answered_without_pytorch(ends, arguments):
    code, loaded = ends[arguments]
    assert code == ENDS[arguments]
    ours = {name for name in loaded if not name.startswith("_")} - {"sitecustomize", "usercustomize"}
    assert ours <= LIGHT


def test_the_package_alone_imports_nothing():
    program = "import sys, ncfm; print(ncfm.NcfmError, [name for name in ('torch', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" []\n")
