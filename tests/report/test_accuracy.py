"""Evaluations in a report: compared with others under the same protocol only."""

from __future__ import annotations

import shutil

import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import write_json
from ncfm.synthetic.folders import SCORES_FILE
from ncfm.workflows.report import write_report
from pages import page_of, score


def test_others_are_compared_under_the_same_protocol_only(run, finished, tmp_path):
    other = shutil.copytree(finished, tmp_path / "other")
    write_json(other / SCORES_FILE, [score(0.55), score(0.9, network="mlp")])
    write_json(
        run.parent / "comparison.json",
        [
            score(0.61, "mine"),
            score(0.3, "random"),
            score(0.2, "herding"),
            score(0.3, "herding"),
            score(0.99, "full", protocol="another"),
        ],
    )
    seen = page_of(run, against=[other])
    assert "In percent: this set 61.0, other 55.0, random 30.0, herding 25.0, chance 10." in seen.text
    assert "Accuracy of this set and others" in seen.text
    assert "This set minus other: +6.00 points" in seen.text
    assert "Not shown, since not evaluated with convnet1w8 and quick@epochs=2: full" in seen.text
    (other / SCORES_FILE).unlink()
    with pytest.raises(NcfmError, match="has no evaluation to compare with"):
        write_report(run, against=[other], with_data=False)


def test_a_set_without_others_is_not_called_compared(run):
    write_json(run / SCORES_FILE, [score(0.61)])
    text = page_of(run).text
    assert "Accuracy of this set" in text
    assert "Accuracy of this set and others" not in text
