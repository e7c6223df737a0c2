"""Evaluations from files: what is no number is left out, and seeds of a method are combined."""

import math

import pytest

from ncfm._utils.checks import NcfmError
from ncfm._utils.files import write_json
from ncfm.evaluation.statistics import accuracy_interval
from ncfm.report.scores import COMPARISON_FILE, read_comparison, read_own_scores, scores_of
from ncfm.synthetic.folders import SCORES_FILE

ENTRY = {"accuracy_mean": 0.5, "accuracy_std": 0.1, "network": "convnet", "protocol": "quick"}


def test_an_evaluation_without_an_accuracy_is_left_out():
    (found,) = scores_of("mine", [ENTRY, {"accuracy_mean": "x"}, {}, {"accuracy_mean": True}])
    assert (found.name, found.mean, found.std, found.setup) == ("mine", 0.5, 0.1, ("convnet", "quick"))
    assert math.isnan(found.calibration_error)


@pytest.mark.parametrize("end", ["low", "high"])
def test_half_an_interval_is_none(end):
    (found,) = scores_of("mine", [ENTRY | {f"accuracy_{end}": 0.4}])
    assert found.low is found.high is None


def test_a_confusion_matrix_is_square():
    square, other = scores_of("mine", [ENTRY | {"confusion": [[3, 1], [0, 4]]}, ENTRY | {"confusion": [[1, 2]]}])
    assert square.confusion == ((3, 1), (0, 4))
    assert other.confusion == ()


def test_scores_of_a_folder_have_its_name(tmp_path):
    assert read_own_scores(tmp_path) == []
    write_json(tmp_path / SCORES_FILE, [ENTRY])
    assert [score.name for score in read_own_scores(tmp_path)] == [tmp_path.name]
    assert [score.name for score in read_own_scores(tmp_path, "other")] == ["other"]


def test_seeds_of_a_method_are_one_score_and_the_run_itself_is_none(tmp_path):
    rows = [ENTRY | {"name": name, "accuracy_mean": mean} for name, mean in (("herding", 0.2), ("herding", 0.4))]
    write_json(tmp_path / COMPARISON_FILE, [*rows, ENTRY | {"name": "mine"}, ENTRY | {"name": "random"}, "damaged"])
    herding, random = read_comparison(tmp_path / "mine")
    assert (herding.name, random.name) == ("herding", "random")
    assert herding.mean == pytest.approx(0.3)
    assert herding.std == pytest.approx(0.2 / 2**0.5)
    assert (herding.low, herding.high) == accuracy_interval([0.2, 0.4])[2:]
    assert (random.mean, random.std) == (0.5, 0.1)  # of a single row: as it stands there


def test_a_comparison_that_is_no_list_is_reported(tmp_path):
    assert read_comparison(tmp_path / "mine") == []
    write_json(tmp_path / COMPARISON_FILE, {})
    with pytest.raises(NcfmError, match="is not a list of results"):
        read_comparison(tmp_path / "mine")
