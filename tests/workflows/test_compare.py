"""What a comparison says of several seeds, and where it looks for methods."""

from __future__ import annotations

import csv
import math

import pytest

from ncfm._utils.checks import NcfmError
from ncfm.config.methods import METHODS, ablation_names, read_ablation
from ncfm.config.schema import make_config, nest
from ncfm.evaluation import EvaluationResult, interval
from ncfm.evaluation.student_cache import Student
from ncfm.workflows.compare import Entry, Scored, choose_methods, cost_points, entries, write_csv


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


# --- methods ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ablation_names())
def test_every_ablation_of_the_package_is_valid_and_has_variants_that_differ(name):
    variants = read_ablation(name)
    assert len(variants) >= 2
    assert all(method.name in {m.name for m in METHODS.values()} for method in variants.values())
    made = [tuple(sorted(method.settings_over(make_config(), {}).items())) for method in variants.values()]
    assert len(set(made)) == len(variants)


def test_the_ablation_of_the_discrepancy_has_the_weights_of_the_methods():
    variants = read_ablation("discrepancy")
    assert {name: variant.name for name, variant in variants.items()} == {
        "ncfd": "ncfm",
        "mmd": "mmd",
        "mean": "mean",
        "dsdm": "dsdm",
        "mse": "mse",
    }
    assert variants.pop("ncfd").settings == {}
    assert {name: variant.settings for name, variant in variants.items()} == {
        name: METHODS[name].settings for name in ("mmd", "mean", "dsdm", "mse")
    }


def test_methods_come_before_variants_named_by_their_ablation():
    chosen = choose_methods(["random"], ["calibration"])
    assert list(chosen) == ["random", "calibration: on", "calibration: off"]
    assert chosen["calibration: off"].settings == {"distill.calibration_weight": 0.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[variants.x]\n'distill.factr' = 1", "distill.factr.*Did you mean"),
        ("[variants.x]\n'distill.factor' = 'a'", "variant 'x'.*distill.factor"),
        ("variants = 3", "a table of variants"),
        ("method = 'nfcm'\n[variants.x]", "expected a method"),
        ("other = 1\n[variants.x]", "nothing else"),
        ("[variants.x]\n'distill.init' = { times = 2 }", "a number to multiply by 2.*distill.init is 'mosaic'"),
        ("[variants.x]\n'distill.iterations' = { times = inf }", "a finite number to multiply distill.iterations by"),
        ("[variants.x]\n'distill.iteration' = { times = 2 }", "distill.iteration is None"),
        ("[variants.x]\n'distill.iterations' = { twice = 2 }", "distill.iterations"),
        ("[variants]\nx = 1", "expected settings of variant 'x'"),
        ("[variants", "Could not read"),
        ("[variants.x]\n'data.deviation' = 'images'", "data.deviation cannot vary, since the variants"),
    ],
)
def test_wrong_ablations_are_told(tmp_path, text, message):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(NcfmError, match=f"(?s){message}"):
        read_ablation(str(path))


def test_a_multiple_is_of_what_recipe_and_user_say(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("""[variants.x]
'distill.iterations' = { times = 0.2 }
'distill.adversary_lr' = { times = 10 }
'distill.factor' = 1
""")
    method = read_ablation(str(path))["x"]
    user = {"distill.iterations": 57, "distill.factor": 3}
    made = method.settings_over(make_config(nest({"distill.adversary_lr": 0.002, **user})), user)
    assert made == {"distill.iterations": 11, "distill.adversary_lr": pytest.approx(0.02), "distill.factor": 3}
    assert method.settings_over(make_config(nest({"distill.iterations": 1})), {})["distill.iterations"] == 1


def test_nothing_to_compare_is_refused():
    with pytest.raises(NcfmError, match="number of methods"):
        choose_methods([], [])
