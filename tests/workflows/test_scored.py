"""The results of a comparison: intervals over seeds, medians of costs, a row for every seed."""

from __future__ import annotations

import csv
import math

from ncfm.evaluation import EvaluationResult, interval
from ncfm.evaluation.student_cache import Student
from ncfm.workflows.scored import Entry, Scored, cost_points, entries, write_csv


def scored(name, seed, *accuracies, **facts):
    students = tuple(Student((a,), ((1,),), 0.1, 1.0, {}) for a in accuracies)
    evaluation = EvaluationResult(students, "convnet", "quick", 400, 400)
    return Scored(name, name, "", seed, evaluation, 10.0, 60.0, **facts)


def test_one_seed_has_the_interval_of_its_students():
    one = scored("ncfm", 0, 0.5, 0.6, 0.7)
    assert Entry((one,)).interval == interval([0.5, 0.6, 0.7])


def test_several_seeds_have_the_interval_of_their_means():
    group = (scored("ncfm", 0, 0.5, 0.7), scored("ncfm", 1, 0.6, 0.6), scored("ncfm", 2, 0.8, 0.8))
    assert Entry(group).interval == interval([0.6, 0.6, 0.8])


def test_entries_join_the_seeds_in_order():
    rows = [scored("b", 0, 0.1), scored("a", 0, 0.2), scored("b", 1, 0.3)]
    assert [[one.seed for one in entry.scored] for entry in entries(rows)] == [[0, 1], [0]]


def test_costs_are_medians_of_what_is_there():
    runs = [
        scored("a", i, 0.5, distill_seconds=s, iterations=10, distill_memory_mb=100 * s)
        for i, s in enumerate((3, 1, 2))
    ]
    entry = Entry(tuple(runs))
    assert (entry.median("distill_seconds"), entry.median("seconds_per_iteration")) == (2, 0.2)
    assert Entry((scored("random", 0, 0.5),)).median("distill_seconds") is None
    selected = Entry((scored("random", 0, 0.4),))
    point, other = cost_points([entry, selected])
    assert (point.name, point.seconds, point.memory_mb, point.accuracy.mean) == ("a", 2, 200, 0.5)
    assert (other.name, other.seconds, other.is_distilled, other.accuracy.mean) == ("random", None, False, 0.4)
    assert cost_points([selected]) == []


def test_an_iteration_of_no_iterations_takes_no_time():
    assert scored("a", 0, 0.5, distill_seconds=1.0, iterations=0).seconds_per_iteration is None


def test_a_row_of_the_csv_for_every_seed(tmp_path):
    write_csv(tmp_path / "x.csv", [scored("a", 0, 0.5, 0.7, distill_seconds=4.0, iterations=8), scored("a", 1, 0.5)])
    with (tmp_path / "x.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert (float(first["accuracy_mean"]), first["seconds_per_iteration"], first["seed"]) == (0.6, "0.5", "0")
    assert (second["seed"], second["iterations"], second["accuracy_low"]) == ("1", "", "")
    assert math.isclose(float(first["accuracy_std"]), 0.02**0.5)
