"""Completion in the shell: the names are those of the package, and nothing slow is imported for them."""

import subprocess
import sys

from ncfm.cli import _completion
from ncfm.config.recipes import recipe_names
from ncfm.data.sources import known_names
from ncfm.formats import FORMATS
from ncfm.results.text_tables import TABLES


def test_the_names_are_those_of_the_package():
    assert sorted(_completion.DATASETS) == sorted(known_names())
    assert tuple(FORMATS) == _completion.FORMATS
    assert tuple(TABLES) == _completion.TABLES
    assert _completion.recipes("") == ["none", *recipe_names()]


OFFERED = {
    "ncfm dis": {"distill"},
    "ncfm distill cifar100": {"cifar100", "cifar100-coarse"},
    "ncfm distill --recipe digits-ipc": {"digits-ipc1"},
    "ncfm export runs/x --to p": {"parquet", "png", "pt"},
    "ncfm compare digits --table l": {"latex"},
    "ncfm distill ./photo": set(),  # the shell completes the path
}
# Completes one line after another, and prints a line after each.
PROGRAM = """
import os, sys
from ncfm.cli.main import main
for typed in sys.argv[1:]:
    sys.argv = ["ncfm"]
    os.environ |= {"_NCFM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    try:
        main()
    except SystemExit:
        pass
    print("loaded:", [name for name in ("torch", "numpy") if name in sys.modules])
"""


def test_a_shell_is_offered_what_fits():
    done = subprocess.run([sys.executable, "-c", PROGRAM, *OFFERED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    *answers, rest = done.stdout.split("loaded: []\n")
    assert rest == ""
    assert {typed: set(answer.split()) for typed, answer in zip(OFFERED, answers, strict=True)} == OFFERED
