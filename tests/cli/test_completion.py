"""Completion in the shell: the names are those of the package, and nothing slow is imported for them."""

import os
import subprocess
import sys

import pytest

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


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("ncfm dis", {"distill"}),
        ("ncfm distill cifar100", {"cifar100", "cifar100-coarse"}),
        ("ncfm distill --recipe digits-ipc", {"digits-ipc1"}),
        ("ncfm export runs/x --to p", {"parquet", "png", "pt"}),
        ("ncfm compare digits --table l", {"latex"}),
        ("ncfm distill ./photo", set()),  # the shell completes the path
    ],
)
def test_a_shell_is_offered_what_fits(typed, offered):
    program = (
        "import sys\nfrom ncfm.cli.main import main\nsys.argv = ['ncfm']\n"
        "try:\n    main()\nfinally:\n    print('loaded:', [n for n in ('torch', 'numpy') if n in sys.modules])"
    )
    asked = {"_NCFM_COMPLETE": "complete_bash", "COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | asked, capture_output=True, text=True, check=False
    )
    *found, loaded = done.stdout.splitlines()
    assert set(filter(None, found)) == offered, done.stderr
    assert loaded == "loaded: []"
