"""The trial of the default settings: its sets, its rows, and that it resumes."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from tools.pages.defaults import defaults_table

from benchmarks import trial, trial_sets
from ncfm.results.files import append_rows, read_rows
from tiny import SETTINGS, few


def test_fields_are_many_and_three_are_held_out():
    assert len({one.field for one in trial_sets.SETS}) == len(trial_sets.SETS) >= 6
    assert sum(one.held_out for one in trial_sets.SETS) >= 3


def test_letters_are_drawn_in_fonts_that_have_them(monkeypatch):
    monkeypatch.setattr(trial_sets, "PER_CLASS", 30)
    monkeypatch.setattr(trial_sets, "TEST_PER_CLASS", 12)
    found = trial_sets.letters()
    assert found.class_names == tuple("abcdefghij")
    assert found.train.counts.tolist() == [30] * 10
    assert found.test.counts.tolist() == [12] * 10
    assert (found.train.images.flatten(1).amax(1) > 60).all()  # none is empty
    assert found.train.images.shape[1:] == (1, 16, 16)


@pytest.mark.filterwarnings("default:few")
def test_rows_say_what_was_chosen_and_a_finished_set_is_not_tried_again(digits, tmp_path, monkeypatch, capsys):
    one = trial_sets.TrialSet("few", "digits", True, lambda: replace(few(digits, 16), name="few"))
    monkeypatch.setattr(trial, "SETS", (one,))
    made = []

    def tiny(of, images, ipc, out):
        made.append(of.name)
        return try_set(of, images, ipc, out, SETTINGS)

    try_set = trial.try_set
    monkeypatch.setattr(trial, "try_set", tiny)
    words = ["trial", "--ipc", "4", "--out", str(tmp_path / "runs"), "--results", str(tmp_path / "rows.csv")]
    monkeypatch.setattr(sys, "argv", words)
    trial.main()
    trial.main()
    assert made == ["few"]
    rows = read_rows(tmp_path / "rows.csv")
    assert [row["method"] for row in rows] == ["ncfm", "herding", "random"]
    assert "distill.factor=1: tiles of 4 px would show too little" in rows[0]["chosen"]
    assert "4 of 16 images per class are stored" in rows[0]["warned"]
    assert "few, IPC 4: ncfm " in capsys.readouterr().out
    table = defaults_table(rows)
    assert table.splitlines()[2].startswith("| few | digits | yes | 4 | ")
    assert table.splitlines()[2].endswith("| yes |")


def test_a_set_without_all_methods_is_tried_again(tmp_path):
    path = tmp_path / "rows.csv"
    assert not trial.is_done(path, "few", 1)
    row = trial.TrialRow("few", "x", True, 1, "ncfm", 0.5, 0.1, 0.4, 0.6, 3, "", "", 1.0, 9, "cpu", 1, "c", "d", "e")
    append_rows(path, [row, replace(row, method="random")])
    assert not trial.is_done(path, "few", 1)
    append_rows(path, [replace(row, method="herding")])
    assert trial.is_done(path, "few", 1)
    assert not trial.is_done(path, "few", 10)


def test_no_rows_are_no_table():
    assert defaults_table([]).startswith("Not run yet")
