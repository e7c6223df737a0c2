"""What a folder holds: a set, a run with or without one, or neither."""

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.synthetic.folders import FACTS_FILE, has_set, is_run, no_set
from ncfm.synthetic.storage import load, save
from sets import synthetic


def test_load_a_missing_folder(tmp_path):
    with pytest.raises(NcfmError, match=r"Expected a distilled set, but .*nowhere does not exist"):
        load(tmp_path / "nowhere")


def test_load_an_empty_folder(tmp_path):
    with pytest.raises(NcfmError, match="exists but holds none"):
        load(tmp_path)


def test_a_run_that_is_not_finished_is_no_set(tmp_path):
    (tmp_path / "config.json").write_text('{"data": "digits", "ipc": 1, "config": {}}')
    with pytest.raises(NcfmError, match=r"The run in .* is not finished .* `ncfm distill` command with --resume"):
        load(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "other"}')  # of another program
    with pytest.raises(NcfmError, match="exists but holds none"):
        load(tmp_path)


def test_a_set_and_a_run_are_told_apart(tmp_path):
    save(synthetic(), tmp_path / "run" / "synthetic")
    (tmp_path / "run" / "config.json").write_text('{"data": "digits", "ipc": 1, "config": {}}')
    save(synthetic(), tmp_path / "alone")
    (tmp_path / "empty").mkdir()
    found = {name: (has_set(tmp_path / name), is_run(tmp_path / name)) for name in ("run", "alone", "empty", "none")}
    assert found == {"run": (True, True), "alone": (True, False), "empty": (False, False), "none": (False, False)}


def test_a_file_is_no_folder(tmp_path):
    (tmp_path / FACTS_FILE).write_text("{}")
    assert "is a file" in str(no_set(tmp_path / FACTS_FILE))
