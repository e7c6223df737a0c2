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
print("loaded:", *[name for name in ("torch", "numpy", "datasets", "matplotlib", "ncfm.config") if name in sys.modules])
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["distill", "--help"], 0),
        (["compare", "--help"], 0),
        (["distil", "digits"], 2),
        (["distill", "digits", "--icp", "1"], 2),
        (["distill", "digits"], 2),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_help_and_typos_are_answered_without_pytorch(arguments, code):
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_the_package_alone_imports_nothing():
    program = "import sys, ncfm; print(ncfm.NcfmError, [name for name in ('torch', 'numpy') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.endswith(" []\n")
