"""The facts at the head of a report, and the command that makes the run again."""

from __future__ import annotations

import shlex

from ncfm._utils.files import read_json, write_json
from ncfm.config.keys import parse_setting
from ncfm.config.layers import make_config
from ncfm.config.resolve import resolve_config
from ncfm.report.run_folder import open_run
from ncfm.report.summary import reproduce_command, variant_note
from ncfm.synthetic.folders import CONFIG_FILE, SCORES_FILE, SET_FOLDER
from pages import page_of, score


def test_the_accuracy_of_the_teachers_is_a_fact(run):
    facts = read_json(run / SET_FOLDER / "set.json")
    (value,) = facts["facts"]["teacher_accuracies"]
    assert f"Accuracy of teachers {100 * value:.1f} % 1 teacher" in page_of(run).text
    del facts["facts"]["teacher_accuracies"]  # as in earlier versions
    write_json(run / SET_FOLDER / "set.json", facts)
    assert "Accuracy of teachers" not in page_of(run).text


def test_many_settings_are_counted_in_the_card_of_the_method():
    assert variant_note("") == ""
    assert variant_note("gaussian") == "gaussian"
    three = ",".join(f"distill.setting{i}=1" for i in range(3))
    assert variant_note(f"gaussian,{three}") == "gaussian, 3 other settings, see Provenance"
    assert variant_note(three) == "3 other settings, see Provenance"
    assert variant_note("distill.factor=1").replace("\u200b", "") == "distill.factor=1"


def test_the_accuracy_is_that_of_the_recipes_students(run):
    write_json(run / SCORES_FILE, [score(0.4), score(0.7), score(0.9, network="mlp")])
    assert "70.0 %" in page_of(run).text.split("Data")[0]
    write_json(run / SCORES_FILE, [score(0.9, network="mlp", accuracy_low=None, accuracies=[0.9])])
    assert "one network, so no interval" in page_of(run).text


def test_the_command_makes_the_same_settings(run):
    words = shlex.split(reproduce_command(open_run(run)))
    assert words[:9] == ["ncfm", "distill", "digits", "--ipc", "1", "--recipe", "none", "--seed", "3"]
    assert set(words[9::2]) == {"--set"}
    again = resolve_config("digits", 1, "none", dict(map(parse_setting, words[10::2])), 3)
    stored = make_config(read_json(run / CONFIG_FILE)["config"])
    assert again == stored.model_copy(update={"machine": again.machine})
