"""The score file of a run: it comes with the set, and has every evaluation once."""

import json

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.synthetic.folders import FACTS_FILE
from ncfm.synthetic.score_file import add_scores, read_scores
from ncfm.synthetic.storage import load, save
from sets import synthetic

SCORE = {"accuracy_mean": 0.5, "network": "convnet", "confusion": [[1, 0], [0, 1]]}


SHORT = {"accuracy_mean": 0.5, "network": "convnet"}


def test_scores_of_the_run_come_with_the_set_and_go_where_it_goes(tmp_path):
    run = tmp_path / "run"
    save(synthetic(), run / "synthetic")
    assert load(run).scores == ()
    assert "scores" not in json.loads((run / "synthetic" / FACTS_FILE).read_text())
    (run / "scores.json").write_text(json.dumps([SCORE]))
    assert load(run).scores == load(run / "synthetic").scores == (SHORT,)
    alone = load(save(load(run), tmp_path / "alone"))
    assert alone.scores == (SHORT,)
    assert alone.with_images(alone.images / 2).scores == ()
    # Back in the run, what the set brings along is not repeated.
    save(alone, run / "synthetic")
    assert load(run).scores == (SHORT,)


def test_scores_that_are_none_are_reported(tmp_path):
    save(synthetic(), tmp_path / "synthetic")
    (tmp_path / "scores.json").write_text("3")
    with pytest.raises(NcfmError, match="is not a list of evaluations; remove it"):
        load(tmp_path)


def test_an_evaluation_is_stored_once_whatever_its_time(tmp_path):
    path = tmp_path / "scores.json"
    add_scores(path, [{"accuracy_mean": 0.5, "seconds": 1.0}])
    add_scores(path, [{"accuracy_mean": 0.5, "seconds": 2.0}, {"accuracy_mean": 0.6, "seconds": 1.0}])
    assert read_scores(path) == [{"accuracy_mean": 0.5, "seconds": 1.0}, {"accuracy_mean": 0.6, "seconds": 1.0}]
