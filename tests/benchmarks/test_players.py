"""What the benchmarks race: each player plays the problem with the values that its name says."""

from __future__ import annotations

import pytest
from benchmarks.problem import Problem

from benchmarks import players

FORMS = {  # of a player: the settings that make it
    "ncfm": ("ncfd", "mixture", False),
    "ncfm, fixed": ("ncfd", "gaussian", False),
    "ncfm, per teacher": ("ncfd", "mixture", True),
    "ncfm, fisher": ("fisher", "gaussian", False),
    "ncfm, entropic": ("entropic", "gaussian", False),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_adversary_is_that_of_its_method_with_the_frequencies_of_the_problem(name, monkeypatch):
    played = []
    monkeypatch.setattr(players, "play_package", lambda problem, turn: played.append(problem.config()))
    play = players.play_package if name == "ncfm" else players.player(name)
    play(Problem(num_frequencies=48, real_batch_per_class=7), lambda: None)
    (config,) = played
    found = config.objective.name, config.frequencies.family, config.frequencies.per_teacher
    assert found == FORMS[name]
    assert config.frequencies.number == 48
    assert config.distill.real_batch_per_class == 7


def test_trajectories_are_named_by_what_they_differ_in(monkeypatch):
    seen = []
    monkeypatch.setattr(players, "play_trajectories", lambda problem, turn: seen.append(problem))
    players.player(players.trajectories("unrolled", 20))(Problem(), lambda: None)
    assert [(p.differentiation, p.student_steps) for p in seen] == [("unrolled", 20)]
