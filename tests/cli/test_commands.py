"""Whole commands as a person types them: what they print, write, refuse, and how they stop and go on."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import ncfm
import warm
from ncfm._utils import files as _files
from ncfm._utils.locks import sole_user
from ncfm._utils.seeding import generator
from ncfm.baselines.rded import rded
from ncfm.cli.main import main
from ncfm.config.build import build_data, build_machine, build_teachers
from ncfm.config.resolve import resolve_config
from ncfm.data.levels import to_uint8
from ncfm.distillation import MinMaxStep, StepRecord
from ncfm.distillation.checkpoint import CHECKPOINT_FILE
from ncfm.evaluation import classroom
from ncfm.formats import hub
from ncfm.formats.reading import read_external
from ncfm.results import files as results
from ncfm.synthetic.formation import Formation
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from ncfm.training import pretraining
from ncfm.workflows import evaluating as runs
from tiny import SETTINGS

COMMANDS = [
    "demo",
    "distill",
    "evaluate",
    "compare",
    "reproduce",
    "score",
    "continual",
    "report",
    "diagnose",
    "search",
    "ledger",
    "pretrain",
    "plan",
    "data",
    "export",
    *(f"recipes {c}" for c in ["list", "show", "copy", "check", "keys"]),
]


def sets(**changes):
    """The tiny settings as options; ``a__b`` stands for the setting a.b."""
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()}
    return [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]


def distill(out, *more, ipc=1, **changes):
    return ["distill", "digits", "--ipc", ipc, "--recipe", "none", "--out", out, *more, *sets(**changes)]


def compare(out, *more, methods="ncfm,random,herding,mosaic", **changes):
    options = ["--ipc", 1, "--recipe", "none", "--methods", methods, "--out", out]
    return ["compare", "digits", *options, *more, *sets(**changes)]


def files_of(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# --- distill ------------------------------------------------------------------------------------------------


def test_distill_writes_a_run_folder(ncfm_, tmp_path):
    out = tmp_path / "runs" / "first"
    done = ncfm_(*distill(out))
    assert done.code == 0, done.err
    assert f"ncfm evaluate {out}" in done.out
    assert "Distilled 10 classes x 1 image (4 per class after decoding) in 2 iterations" in done.out
    assert re.search(r"Features of 1 teacher, \d+\.\d % on the test split", done.out)
    assert files_of(out) == [
        "config.json",
        *(f"film/000000{i}.safetensors" for i in range(3)),
        "images.png",
        "metrics.jsonl",
        "report.html",
        "state.safetensors",
        "synthetic/images.safetensors",
        "synthetic/set.json",
    ]
    config = json.loads((out / "config.json").read_text())
    assert (config["data"], config["ipc"], config["config"]["distill"]["iterations"]) == ("digits", 1, 2)
    entries = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [entry["iteration"] for entry in entries] == [1, 2]
    assert (out / "images.png").read_bytes().startswith(b"\x89PNG")
    synthetic = ncfm.load(out)
    assert synthetic.facts["config"] == config["config"]
    assert torch.equal(synthetic.images, load_file(out / CHECKPOINT_FILE)["images"])


def test_nothing_is_pickled(ncfm_, tmp_path, own_cache):
    # Loading a pickle runs code: no file of ours may be one (or a zip that holds one, as torch.save writes).
    ncfm_(*distill(tmp_path / "run"))
    ncfm_("evaluate", tmp_path / "run", "--results", tmp_path / "run" / "rows.csv")
    found = [p for folder in (tmp_path, own_cache) for p in folder.rglob("*") if p.is_file()]
    assert len(found) >= 10
    for path in found:
        assert path.suffix in {".json", ".jsonl", ".safetensors", ".png", ".csv", ".html"}, path
        assert not path.read_bytes().startswith((b"\x80", b"PK\x03\x04")), path


def test_distill_as_json(ncfm_, tmp_path):
    done = ncfm_(*distill(tmp_path / "run", "--json", "--iterations", 3))
    found = json.loads(done.out)
    assert found.pop("seconds") >= 0
    (accuracy,) = found.pop("teacher_accuracies")
    assert 0 < accuracy < 1
    assert found == {
        "out": str(tmp_path / "run"),
        "classes": 10,
        "ipc": 1,
        "decoded_ipc": 4,
        "iterations": 3,
        "stopped_early": False,
    }


def test_quiet_says_nothing_but_the_result(ncfm_, tmp_path):
    assert ncfm_(*distill(tmp_path / "run", "--quiet")).err == ""


def test_progress_goes_to_standard_error(ncfm_, tmp_path):
    done = ncfm_(*distill(tmp_path / "run", "--json"))
    assert "teachers: 1 epoch" in done.err
    assert "distilling: 2 iterations" in done.err
    json.loads(done.out)


def test_a_log_has_few_lines_and_no_control_codes(ncfm_, tmp_path):
    done = ncfm_(*distill(tmp_path / "run"))
    assert len(done.err.splitlines()) == 4  # begin and end of two stages
    beginnings = ["Features of ", "Distilled ", "Images: ", "Report: ", "Evaluate it with: "]
    assert [line.startswith(begin) for line, begin in zip(done.out.splitlines(), beginnings, strict=True)] == [True] * 5
    assert all(character == "\n" or character.isprintable() for character in done.err + done.out)
    assert "distilling: done in 0:00:0" in done.err
    assert " s/it, " in done.err


def test_warnings_are_told_in_one_line(ncfm_, tmp_path, monkeypatch):
    def warn(*arguments, **options):
        warnings.warn_explicit("twins [two] in the set", UserWarning, ncfm.workflows.distill.__file__, 1)
        warnings.warn_explicit("not for the user", FutureWarning, ncfm.workflows.distill.__file__, 1)
        warnings.warn_explicit("not ours", UserWarning, torch.__file__, 1)
        raise ncfm.NcfmError("enough")

    monkeypatch.setattr(ncfm, "distill", warn)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # put back afterwards
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        done = ncfm_(*distill(tmp_path / "run"))
    assert done.err.splitlines() == ["Warning: twins [two] in the set", "ncfm: enough"]


def test_the_default_folder_is_named_after_data_and_ipc(ncfm_, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ncfm_("distill", "digits", "--ipc", 2, "--recipe", "none", *sets()).code == 0
    assert (tmp_path / "runs" / "digits-ipc2" / "images.png").is_file()


def test_a_recipe_of_ones_own(ncfm_, tmp_path):
    recipe = tmp_path / "mine.toml"
    recipe.write_text("# Mine\nseed = 4\n[distill]\nfactor = 1\niterations = 50\n")
    out = tmp_path / "run"
    done = ncfm_("distill", "digits", "--ipc", 1, "-r", recipe, "-o", out, *sets())
    assert done.code == 0, done.err
    facts = ncfm.load(out).facts
    assert (facts["config"]["seed"], facts["config"]["distill"]["factor"]) == (4, 1)
    assert facts["iterations"] == 2  # the command line wins


def test_folders_with_brackets_are_printed_as_they_are(ncfm_, tmp_path):
    out = tmp_path / "run[alpha]"
    assert str(out) in ncfm_(*distill(out)).out


# --- evaluate -----------------------------------------------------------------------------------------------


def test_evaluate_prints_json_and_appends_rows(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run"))
    rows = tmp_path / "rows.csv"
    for expected in (1, 2):  # the first network's students are remembered, and no new evidence
        networks = "convnet1w8" if expected == 1 else "convnet1w8, convnet1w4-batch"
        done = ncfm_("evaluate", tmp_path / "run", "--json", "--results", rows, "--networks", networks)
        assert done.code == 0, done.err
        found = json.loads(done.out)
        with rows.open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert len(lines) == expected
    assert [f["network"] for f in found] == ["convnet1w8", "convnet1w4-batch"]
    assert [float(line["accuracy_mean"]) for line in lines] == pytest.approx(
        [f["accuracy_mean"] for f in found], rel=1e-5
    )
    assert found[0]["protocol"] == "quick@epochs=2"
    assert len(found[0]["accuracies"]) == 2
    assert found[0]["num_images"] == 40
    row = lines[0]
    assert (row["dataset"], row["ipc"], row["method"]) == ("digits", "1", "ncfm")
    assert "distill.iterations=2" in row["variant"].split(",")  # not what the recipe says
    assert row["command"].startswith("ncfm evaluate ")
    remembered = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert remembered == found
    assert len(found[0]["per_class"]) == len(found[0]["confusion"]) == 10
    assert 0 <= found[0]["calibration_error"] <= 1


def test_evaluate_in_words(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run"))
    one = ncfm_("evaluate", tmp_path / "run" / "synthetic", "--runs", 1, "--epochs", 1).out
    assert "convnet1w8" in one
    assert "1 student, trained for 1 epoch on 40 images" in one
    assert "Protocol: quick@epochs=1." in " ".join(one.split())
    assert " to " not in one
    assert "nan" not in one
    several = ncfm_("evaluate", tmp_path / "run").out
    assert " to " in several
    assert max(map(len, several.splitlines()[1:])) <= 80


def test_another_programs_set_is_judged(ncfm_, tmp_path):
    images, labels = np.zeros((20, 8, 8), np.uint8), np.arange(10).repeat(2)
    np.savez(tmp_path / "theirs.npz", images=images, labels=labels)
    options = ("--epochs", 1, "--runs", 2, "--networks", "convnet1w8", "--results", tmp_path / "rows.csv")
    done = ncfm_("evaluate", tmp_path / "theirs.npz", "--on", "digits", *options)
    assert done.code == 0, done.err
    assert "2 students, trained for 1 epoch on 20 images" in done.out
    (row,) = csv.DictReader((tmp_path / "rows.csv").read_text().splitlines())
    assert (row["dataset"], row["ipc"], row["method"], row["variant"]) == ("digits", "2", "foreign", "theirs.npz")
    nameless = ncfm_("evaluate", tmp_path / "theirs.npz")
    assert nameless.code == 2
    assert "specify it with --on" in " ".join(nameless.err.split())


def test_two_sets_are_compared_student_by_student(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run"))
    np.savez(tmp_path / "grey.npz", images=np.full((10, 8, 8), 99, np.uint8), labels=np.arange(10))
    options = ("--on", "digits", "--against", tmp_path / "grey.npz", "--epochs", 5, "--networks", "convnet1w8")
    done = ncfm_("evaluate", tmp_path / "run", *options, "--runs", 3)
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "convnet1w8: first minus second +" in said  # grey squares teach nothing
    assert "p = " in said
    assert "Detecting a difference of 1 point takes" in said
    lonely = ncfm_("evaluate", tmp_path / "run", *options, "--runs", 1)
    assert "cannot show a difference" in " ".join(lonely.out.split())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_score_in_words_numbers_and_rows(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run"))
    rows = tmp_path / "scores.csv"
    command = ("score", tmp_path / "run", "--full-epochs", 1, "--results", rows)
    done = ncfm_(*command)
    assert done.code == 0, done.err
    assert "Label-robust score      LRS 0." in done.out
    assert "Augmentation-robust     ARS 0." in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    again = json.loads(ncfm_(*command, "--json").out)
    (row,) = rows_of(rows)  # remembered students are no new evidence
    assert float(row["label_robust_score"]) == pytest.approx(again["label_robust_score"]["value"], rel=1e-5)
    assert float(row["label_robust_low"]) < float(row["label_robust_score"]) < float(row["label_robust_high"])
    assert (row["dataset"], row["ipc"], row["method"], row["num_runs"]) == ("digits", "1", "ncfm", "2")
    assert len(again["accuracies"]["full_hard"]) == 2
    assert row["command"].startswith("ncfm score ")


def test_continual_in_words_numbers_rows_and_a_picture(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run"))
    rows, plot = tmp_path / "continual.csv", tmp_path / "curve.png"
    command = ("continual", tmp_path / "run", "--steps", 2, "--methods", "random", "--results", rows, "--plot", plot)
    done = ncfm_(*command)
    assert done.code == 0, done.err
    assert "Accuracy in % on the classes seen, mean ± standard deviation over 2 runs." in done.out
    found = json.loads(ncfm_(*command, "--json").out)
    assert list(found) == ["set", "random"]
    table = rows_of(rows)
    assert [(row["memory"], row["classes_seen"]) for row in table] == [
        (memory, seen) for memory in ("set", "random") for seen in ("5", "10")
    ]
    last = found["random"]["accuracies"][-1]
    assert float(table[-1]["accuracy_mean"]) == pytest.approx(sum(last) / 2, rel=1e-5)
    with Image.open(plot) as picture:
        assert picture.size[0] > 500
    refused = ncfm_("continual", tmp_path / "run", "--steps", 11)
    assert (refused.code, "1 to 10 steps" in refused.err) == (2, True)


def test_search_in_words_numbers_rows_and_a_picture(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run"))
    rows, plot = tmp_path / "search.csv", tmp_path / "search.png"
    grid = ("--depths", "1,2,9", "--widths", "2,4", "--norms", "instance")  # nine halvings are too many for 8 pixels
    command = ("search", tmp_path / "run", *grid, "--full-epochs", 1, "--results", rows, "--plot", plot)
    done = ncfm_(*command)
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "Rank correlation: Spearman" in said
    assert "points below the best" in said
    found = json.loads(ncfm_(*command, "--json").out)
    table = rows_of(rows)
    assert (
        [row["network"] for row in table]
        == found["networks"]
        == [f"convnet{depth}w{width}-instance" for depth in (1, 2) for width in (2, 4)]
    )
    assert [float(row["full_accuracy"]) for row in table] == pytest.approx(found["full"], rel=1e-5)
    with Image.open(plot) as picture:
        assert picture.size[0] > 500
    refused = ncfm_("search", tmp_path / "run", "--widths", "2,x")
    assert (refused.code, "--widths takes whole numbers" in refused.err) == (2, True)


def test_evaluate_twice_gives_the_same_numbers(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run"))
    accuracies = [
        json.loads(ncfm_("evaluate", tmp_path / "run", "--json", "--seed", seed).out)[0]["accuracies"]
        for seed in (0, 0, 1)
    ]
    assert accuracies[0] == accuracies[1]
    assert accuracies[0] != accuracies[2]


def test_a_set_made_for_tuning_is_judged_on_its_validation_part(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path / "run", data__validation=0.2))
    done = ncfm_("evaluate", tmp_path / "run", "--json")
    assert done.code == 0, done.err


def test_the_validation_part_does_not_depend_on_the_students_seed(ncfm_, tmp_path, monkeypatch):
    # With another seed it would hold images that the set was distilled from.
    ncfm_(*distill(tmp_path / "run", data__validation=0.2))
    seen = []
    evaluate = runs.evaluate_tensors

    def spy(train, test, **options):
        seen.append(test.images)
        return evaluate(train, test, **options)

    monkeypatch.setattr(runs, "evaluate_tensors", spy)
    for seed in (0, 1):
        ncfm_("evaluate", tmp_path / "run", "--on", "digits", "--seed", seed)
    assert torch.equal(*seen)


# --- compare ------------------------------------------------------------------------------------------------


def test_compare_puts_methods_side_by_side(ncfm_, tmp_path):
    out, rows = tmp_path / "all", tmp_path / "rows.csv"
    methods = "ncfm,gaussian,mean,random,herding,mosaic,full"
    done = ncfm_(*compare(out, "--json", "--results", rows, methods=methods))
    assert done.code == 0, done.err
    found = {row["name"]: row for row in json.loads(done.out)}
    assert list(found) == methods.split(",")
    assert json.loads((out / "comparison.json").read_text()) == json.loads(done.out)
    assert {row["storage"] for name, row in found.items() if name != "full"} == {1}
    assert {row["protocol"] for row in found.values()} == {"quick@epochs=2"}
    # Mosaics are cut into four; the training split has 1,343 of the 1,797 digits.
    assert {name: row["num_images"] for name, row in found.items()} == {
        "ncfm": 40,
        "gaussian": 40,
        "mean": 40,
        "random": 10,
        "herding": 10,
        "mosaic": 40,
        "full": 1343,
    }
    assert all((out / name / "scores.json").is_file() for name in found)
    assert all((out / name / "images.png").is_file() for name in found if name != "full")
    with rows.open(newline="") as file:
        lines = list(csv.DictReader(file))
    names = [[part for part in line["variant"].split(",") if "=" not in part] for line in lines]
    assert [(line["method"], *name) for line, name in zip(lines, names, strict=True)] == [
        ("ncfm",),
        ("ncfm", "gaussian"),
        ("mean",),
        ("random",),
        ("herding",),
        ("mosaic",),
        ("full", "equal-steps"),
    ]
    assert [line["distill_seconds"] != "" for line in lines] == [True] * 3 + [False] * 4
    assert [line["teacher_seconds"] != "" for line in lines] == [True] * 3 + [False, True, False, False]


def told_again(done):
    """The rows of a comparison as a later one should tell them; the cache keeps a teacher's time in milliseconds."""
    rows = json.loads(done.out)
    for row in rows:
        row["teacher_seconds"] = row["teacher_seconds"] and pytest.approx(row["teacher_seconds"], abs=1e-3)
    return rows


def test_a_second_compare_trains_nothing_and_says_the_same(ncfm_, tmp_path, monkeypatch):
    first = ncfm_(*compare(tmp_path / "all", "--json"))
    assert first.code == 0, first.err

    def refuse(*arguments, **options):
        raise AssertionError("something was trained again")

    monkeypatch.setattr(pretraining, "fit", refuse)
    monkeypatch.setattr(classroom, "fit", refuse)
    monkeypatch.setattr(MinMaxStep, "__call__", refuse)
    second = ncfm_(*compare(tmp_path / "all", "--json"))
    assert json.loads(second.out) == told_again(first)


def test_a_compare_with_more_methods_keeps_those_it_has(ncfm_, tmp_path, monkeypatch):
    first = ncfm_(*compare(tmp_path / "all", "--json", methods="ncfm,random"))
    monkeypatch.setattr(MinMaxStep, "__call__", lambda _: pytest.fail("distilled again"))
    second = ncfm_(*compare(tmp_path / "all", "--json", methods="mosaic,ncfm,random"))
    assert json.loads(second.out)[1:] == told_again(first)


def test_a_row_written_later_tells_of_the_measurement(ncfm_, tmp_path, monkeypatch):
    ncfm_(*compare(tmp_path / "all", methods="random"))
    monkeypatch.setattr(results, "code_version", lambda: "a later commit")
    monkeypatch.setattr(results, "command_line", lambda: "a later command")
    ncfm_(*compare(tmp_path / "all", "--results", tmp_path / "rows.csv", methods="random"))
    (row,) = results.read_rows(tmp_path / "rows.csv")
    assert row["commit"] not in ("", "a later commit")
    assert row["command"] not in ("", "a later command")
    ncfm_(*compare(tmp_path / "all", "--runs", 3, "--results", tmp_path / "rows.csv", methods="random"))
    assert [r["commit"] == "a later commit" for r in results.read_rows(tmp_path / "rows.csv")] == [False, True]


def test_rows_say_what_differs_from_the_recipe(ncfm_, tmp_path):
    rows = tmp_path / "rows.csv"
    changes = ["--recipe", "none", "--set", "distill.descent_steps=2", "--set", "machine.kernels=off"]
    ncfm_(*compare(tmp_path / "all", "--results", rows, *changes, methods="gaussian,random"))
    distilled, selected = (row["variant"].split(",") for row in results.read_rows(rows))
    assert distilled[0] == "gaussian"
    assert {"distill.descent_steps=2", "machine.kernels=off", "teachers.number=1"} <= {*distilled}
    assert not any("evaluate" in change or "checkpoint" in change for change in distilled)
    assert set(selected) == {"distill.factor=2", "machine.kernels=off"}  # all that a selection depends on


def test_other_students_are_trained_again(ncfm_, tmp_path):
    first = json.loads(ncfm_(*compare(tmp_path / "all", "--json", methods="random")).out)
    second = json.loads(ncfm_(*compare(tmp_path / "all", "--json", "--runs", 3, methods="random")).out)
    assert [len(r[0]["accuracies"]) for r in (first, second)] == [2, 3]
    assert second[0]["accuracies"][:2] == first[0]["accuracies"]


def test_diagnose_in_words_numbers_and_a_picture(ncfm_, tmp_path):
    run = tmp_path / "run"
    ncfm_("distill", "digits", "--ipc", 1, "--recipe", "none", "--out", run, *sets(machine__diagnose_every=1))
    plot = tmp_path / "looks.png"
    done = ncfm_("diagnose", run, "--plot", plot)
    assert done.code == 0, done.err
    rows = [line.split() for line in done.out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2"]
    assert all(len(row) == 10 for row in rows)  # iteration, 4 pairs, low-high
    assert all(len(line) <= 80 for line in done.out.splitlines() if not line.startswith("Picture"))
    with Image.open(plot) as picture:
        assert picture.format == "PNG"
    entries = json.loads(ncfm_("diagnose", run, "--json").out)
    mean = sum(entries[1]["fixed.modulus"]) / 10
    assert float(rows[1][6]) == pytest.approx(mean, abs=0.006)
    by_class = ncfm_("diagnose", run, "--classes").out
    rows = [line.split() for line in by_class.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == [str(i) for i in range(10)]
    assert [float(row[6]) for row in rows] == pytest.approx(entries[1]["fixed.modulus"], abs=0.006)
    assert [float(row[7]) for row in rows] == pytest.approx(entries[1]["learned.excess"], abs=0.006)


def test_a_run_that_was_not_looked_at_says_how(ncfm_, tmp_path):
    done = ncfm_("diagnose", tmp_path)
    assert done.code == 2
    assert "machine.diagnose_every" in done.err


def test_ablations_and_seeds_share_teachers(ncfm_, tmp_path):
    rows, own = tmp_path / "rows.csv", tmp_path / "own.toml"
    own.write_text('[variants."a=0"]\n"objective.amplitude_weight" = 0.0\n[variants.plain]\n')
    options = ["--ipc", 1, "--recipe", "none", "--ablation", own, "--seeds", 2, "--out", tmp_path / "all"]
    done = ncfm_("compare", "digits", *options, "--results", rows, *sets())
    assert done.code == 0, done.err
    assert "own: a=0" in done.out
    assert "intervals over 2 seeds" in " ".join(done.out.split())
    found = results.read_rows(rows)
    assert [(row["method"], row["seed"]) for row in found] == [("ncfm", "0"), ("ncfm", "1")] * 2
    assert ["objective.amplitude_weight=0.0" in row["variant"] for row in found] == [True, True, False, False]
    assert not any("seed" in row["variant"] for row in found)
    assert len({row["teacher_seconds"] for row in found}) == 1
    assert len({row["accuracy_mean"] for row in found}) > 1
    folders = {path.name for path in (tmp_path / "all").iterdir()}
    assert folders >= {"own-a=0", "own-a=0.seed1", "own-plain", "own-plain.seed1", "comparison.csv", "comparison.png"}
    again = ncfm_("compare", "digits", *options, "--json", *sets())
    assert [row["accuracy_mean"] for row in json.loads(again.out)] == [
        pytest.approx(float(row["accuracy_mean"]), rel=1e-5) for row in found
    ]


def test_the_demo_compares_the_digits(ncfm_, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = ncfm_("demo", *sets())
    assert done.code == 0, done.err
    assert "Handwritten digits, 1 image per class" in done.out
    methods = ["ncfm", "random", "herding", "mosaic", "full"]
    assert [line.split()[0] for line in done.out.splitlines() if " ± " in line] == methods
    assert "Next, your own images:\n  ncfm distill FOLDER --ipc 10" in done.out
    folder = tmp_path / "runs" / "demo"
    assert {"comparison.json", "comparison.csv", "comparison.png", "costs.png"} <= {p.name for p in folder.iterdir()}
    again = json.loads(ncfm_("demo", "--json", *sets()).out)  # the same folder: nothing is trained again
    assert [row["name"] for row in again] == methods


def test_a_comparison_prints_a_table_to_paste(ncfm_, tmp_path):
    options = ["digits", "--ipc", 1, "--recipe", "none", "--methods", "random,herding", "--out", tmp_path / "all"]
    latex = ncfm_("compare", *options, *sets(), "--table", "latex").out
    first, *_, last = latex.splitlines()
    assert (first, last) == (r"\begin{table}", r"\end{table}")
    (row,) = (line for line in latex.splitlines() if line.strip().startswith("random"))
    rows = json.loads(ncfm_("compare", *options, *sets(), "--json").out)
    spread = f"{100 * rows[0]['accuracy_mean']:.1f} $\\pm$ {100 * rows[0]['accuracy_std']:.1f}"
    assert row.split(" & ")[:2] == ["    random", spread]
    assert r"method & accuracy \% & 95 \% interval & stored per class" in latex
    markdown = ncfm_("compare", *options, *sets(), "--table", "markdown").out
    assert "| method | accuracy % | 95 % interval | stored per class | distil s | iter. s | MiB |" in markdown
    assert f"| random | {spread.replace('$', '').replace(chr(92) + 'pm', '±')} |" in markdown


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--table", "html"], "Unknown form of a table 'html'.*latex, markdown"),
        (["--table", "latex", "--json"], "both"),
    ],
)
def test_another_table_is_refused_before_the_work(ncfm_, tmp_path, options, words):
    done = ncfm_("compare", "digits", "--ipc", 1, "--out", tmp_path / "all", *options)
    assert (done.code, done.out) == (2, "")
    assert re.search(words, " ".join(done.err.split()))
    assert not (tmp_path / "all").exists()


def test_what_comes_to_the_same_is_made_once_whatever_its_name(ncfm_, tmp_path):
    rows, own, other = tmp_path / "rows.csv", tmp_path / "own.toml", tmp_path / "other.toml"
    own.write_text('[variants.plain]\n[variants.default]\n"distill.descent_steps" = 1\n')
    other.write_text('[variants.first]\n"distill.ascent_steps" = 1\n[variants.k]\n"objective.amplitude_weight" = 0.0\n')
    options = ["--ipc", 1, "--recipe", "none", "--out", tmp_path / "all", "--results", rows, "--json"]
    first = json.loads(ncfm_("compare", "digits", "--ablation", own, *options, *sets()).out)
    assert [row["name"] for row in first] == ["own: plain", "own: default"]
    second = json.loads(ncfm_("compare", "digits", "--ablation", f"{other},{own}", *options, *sets()).out)
    assert [row["name"] for row in second] == ["other: first", "other: k", "own: plain", "own: default"]
    assert len({str(row["confusion"]) for row in (*first, second[0], *second[2:])}) == 1
    folders = {path.name for path in (tmp_path / "all").iterdir() if path.is_dir()}
    assert folders == {"own-plain", "other-k"}  # found where it was, though asked for by another name first
    assert len(results.read_rows(rows)) == 2


@pytest.mark.parametrize("method", ["mse", "mmd", "dsdm", "dm", "mtt", "datm", "rded", "rded-teacher"])
def test_every_peer_runs(ncfm_, tmp_path, method):
    few = {
        "trajectory__experts": 1,
        "trajectory__epochs": 3,
        "trajectory__start_high": 1,
        "trajectory__student_steps": 2,
    }
    done = ncfm_(*compare(tmp_path / "all", "--json", methods=method, **few))
    assert done.code == 0, done.err
    (row,) = json.loads(done.out)
    assert row["method"] == method.split("-")[0]
    assert row["variant"].count("objective.name") == 0
    if method == "datm":
        assert row["storage"] > 1
        assert "labels=soft" in row["protocol"]
    if method == "rded-teacher":
        assert "labels=teacher" in row["protocol"]
    if method == "dm":
        assert row["teacher_seconds"] is None
    assert (row["distill_seconds"] is None) == method.startswith("rded")


def test_a_setting_that_is_a_list_does_not_keep_a_run_from_going_on(ncfm_, tmp_path):
    first = ncfm_(*compare(tmp_path / "all", "--json", methods="mmd", objective__bandwidth_factors="[0.5,2.0]"))
    again = ncfm_(*compare(tmp_path / "all", "--json", methods="mmd", objective__bandwidth_factors="[0.5,2.0]"))
    assert (first.code, again.code) == (0, 0), again.err
    other = ncfm_(*compare(tmp_path / "all", "--json", methods="mmd", objective__bandwidth_factors="[0.5]"))
    assert other.code == 2
    assert "config.objective.bandwidth_factors was [0.5, 2.0]" in other.err


def test_an_unknown_ablation_names_the_known(ncfm_, tmp_path):
    done = ncfm_("compare", "digits", "--ipc", 1, "--ablation", "alhpa", "--out", tmp_path)
    assert done.code == 2
    assert "Did you mean 'alpha'?" in done.err


def test_compare_as_a_table(ncfm_, tmp_path):
    done = ncfm_(*compare(tmp_path / "all", methods="ncfm,random,full"))
    assert "digits, 1 image per class" in done.out
    # Every cell stands under its heading: accuracy, interval, stored images a class, seconds, an iteration's, memory.
    cells = [re.split(r"\s{2,}", line.strip()) for line in done.out.splitlines() if " ± " in line]
    assert [row[0] for row in cells] == ["ncfm", "random", "full (equal-steps)"]
    assert [row[2] for row in cells if not re.fullmatch(r"-?\d+\.\d to -?\d+\.\d", row[2])] == []
    assert [row[3] for row in cells] == ["1", "1", "135"]
    assert [row[4].isdigit() and row[6].isdigit() and float(row[5]) > 0 for row in cells[:1]] == [True]
    assert [row[4:] for row in cells[1:]] == [["-", "-", "-"]] * 2
    assert all(len(line) <= 80 for line in done.out.splitlines() if not line.startswith("  /"))
    assert "Accuracy after the last epoch" in done.out.replace("\n", " ")
    pictures = done.out.partition("Pictures:\n")[2].splitlines()
    assert [line.strip() for line in pictures] == [
        str(tmp_path / "all" / name) for name in ("comparison.png", "costs.png", "ncfm/images.png", "random/images.png")
    ]
    assert "Traceback" not in done.err


def test_a_compare_goes_on_after_an_evaluate_of_its_set(ncfm_, tmp_path):
    ncfm_(*compare(tmp_path / "all", methods="ncfm"))
    ncfm_("evaluate", tmp_path / "all" / "ncfm")
    assert ncfm_(*compare(tmp_path / "all", methods="ncfm")).code == 0


def test_an_interrupted_compare_says_how_to_go_on(ncfm_, tmp_path, monkeypatch):
    monkeypatch.setattr(MinMaxStep, "__call__", interrupted_in_iteration(1))
    done = ncfm_(*compare(tmp_path / "all", methods="ncfm"))
    assert done.code == 130
    assert "--resume" not in done.err


# --- pretrain -----------------------------------------------------------------------------------------------


def test_pretrained_teachers_are_found(ncfm_, tmp_path, own_cache, monkeypatch):
    pretrain = ("pretrain", "digits", "--recipe", "none", "--number", 2, *sets())
    done = ncfm_(*pretrain, "--json")
    assert json.loads(done.out)["teachers"] == 2
    assert len(list((own_cache / "teachers").glob("*.safetensors"))) == 2
    monkeypatch.setattr(pretraining, "fit", lambda *a, **k: pytest.fail("trained again"))
    assert ncfm_(*distill(tmp_path / "run")).code == 0
    done = ncfm_(*pretrain)
    assert re.search(r"2 teachers, \d+\.\d % on the test split \(.*\); trained in ", " ".join(done.out.split()))


# --- recipes ------------------------------------------------------------------------------------------------


@pytest.fixture
def recipes(tmp_path, monkeypatch):
    """A folder of two recipes in place of the package's, one of them with an accent in its title."""
    folder = tmp_path / "recipes"
    folder.mkdir()
    for name, title, settings in (
        ("digits-ipc1", "Digits, une démo", "[distill]\niterations = 5"),
        ("digits-ipc2", "More digits", "seed = 2"),
    ):
        header = f"# {title}\n# Command: ncfm reproduce {name}\n# Expected: 5 %\n# Hardware: any\n"
        (folder / f"{name}.toml").write_text(f"{header}{settings}\n", encoding="utf-8")
    monkeypatch.setattr("ncfm.config.recipes.RECIPES", folder)
    return folder


def test_recipes_are_listed(ncfm_, recipes):
    assert json.loads(ncfm_("recipes", "list", "--json").out) == {
        "digits-ipc1": "Digits, une démo",
        "digits-ipc2": "More digits",
    }
    assert "digits-ipc2" in ncfm_("recipes", "list").out


def test_recipes_are_shown_as_they_are(ncfm_, recipes):
    shown = ncfm_("recipes", "show", "digits-ipc1").out
    assert shown == (recipes / "digits-ipc1.toml").read_text(encoding="utf-8")


def test_recipes_are_copied_but_never_over_a_file(ncfm_, recipes, tmp_path):
    mine = tmp_path / "mine.toml"
    assert ncfm_("recipes", "copy", "digits-ipc1", mine).code == 0
    assert mine.read_bytes() == (recipes / "digits-ipc1.toml").read_bytes()
    mine.write_text("# mine\n")
    done = ncfm_("recipes", "copy", "digits-ipc1", mine)
    assert done.code == 2
    assert "exists already" in done.err
    assert mine.read_text() == "# mine\n"


def test_recipes_are_checked(ncfm_, recipes, tmp_path):
    assert re.search(r"Valid: 2 recipes and \d+ ablations", ncfm_("recipes", "check").out)
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("[distill]\nitertions = 5\nfactor = 0\n")
    done = ncfm_("recipes", "check", wrong)
    assert done.code == 2
    assert "Did you mean 'distill.iterations'" in done.err
    assert "distill.factor" in done.err


def test_a_packaged_recipe_without_its_header_is_told(ncfm_, recipes):
    (recipes / "digits-ipc2.toml").write_text("# More digits\nseed = 2\n")
    done = ncfm_("recipes", "check")
    assert done.code == 2
    assert "Recipe digits-ipc2: no line `# Command: ...`; no line `# Expected: ...`" in done.err


def test_every_wrong_recipe_is_named(ncfm_, tmp_path):
    for name in ("a.toml", "b.toml"):
        (tmp_path / name).write_text("[distill]\nfactor = 0\n")
    done = ncfm_("recipes", "check", tmp_path / "a.toml", tmp_path / "b.toml")
    assert "a.toml" in done.err
    assert "b.toml" in done.err


def test_the_packaged_recipes_are_valid(ncfm_):
    assert ncfm_("recipes", "check").code == 0


def test_keys_are_listed(ncfm_):
    lines = ncfm_("recipes", "keys").out.splitlines()
    assert any(line.split()[:2] == ["distill.factor", "2"] for line in lines)
    assert lines[-1].split() == ["seed", "0"]


# --- help ---------------------------------------------------------------------------------------------------


# --- export -------------------------------------------------------------------------------------------------


@pytest.fixture
def mosaics(tmp_path, digits):
    """A set of mosaics with soft labels, in a run folder that knows a score."""
    images = digits.train.labelled().images[:20].unflatten(0, (10, 2))
    said = torch.log_softmax(torch.randn(80, 10, generator=torch.Generator().manual_seed(0)), 1)
    made = SyntheticSet(
        images, digits.class_names, digits.statistics, 2, facts={"data": "digits"}, soft_labels=SoftLabels.of(said)
    )
    ncfm.save(made, tmp_path / "run" / "synthetic")
    score = {"accuracy_mean": 0.9, "accuracy_std": 0.01, "accuracy_low": 0.88, "accuracy_high": 0.92}
    score |= {"accuracies": [0.9, 0.9], "network": "convnet", "protocol": "quick"}
    (tmp_path / "run" / "scores.json").write_text(json.dumps([score]))
    return made


@pytest.mark.parametrize(
    ("to", "name"), [("png", "set"), ("hf", "set"), ("npz", "set.npz"), ("pt", "set.pt"), ("parquet", "set.parquet")]
)
def test_export_writes_what_evaluate_reads(ncfm_, tmp_path, mosaics, to, name):
    done = ncfm_("export", tmp_path / "run", "--to", to, "--out", tmp_path / name)
    assert done.code == 0, done.err
    assert f"Wrote {tmp_path / name}" in done.out
    assert "80 decoded images of 10 classes" in done.out
    assert ("are left out" in done.out) == (to == "png")
    found = read_external(tmp_path / name, ncfm.load_images("digits")).images
    assert torch.equal(to_uint8(found.images), to_uint8(mosaics.decoded().images))
    assert found.labels.tolist() == mosaics.decoded().labels.tolist()


def test_export_of_a_small_set_with_its_scores(ncfm_, tmp_path, mosaics):
    done = ncfm_("export", tmp_path / "run", "--to", "ncfm", "--bits", 8, "--out", tmp_path / "small", "--json")
    found = json.loads(done.out)
    assert found.pop("num_bytes") == sum(len(v) for v in contents(tmp_path / "small").values())
    assert found == {
        "path": str(tmp_path / "small"),
        "to": "ncfm",
        "num_images": 20,
        "num_classes": 10,
        "bits": 8,
        "stored": True,
        "soft_labels": True,
        "pushed": None,
    }
    small = ncfm.load(tmp_path / "small")
    assert torch.equal(small.images, mosaics.images)  # real images have 8 bits
    assert [score["accuracy_mean"] for score in small.scores] == [0.9]
    assert torch.equal(small.soft_labels.values, mosaics.soft_labels.values)


def test_export_refuses_and_replaces(ncfm_, tmp_path, mosaics):
    export = ("export", tmp_path / "run", "--to", "png", "--out", tmp_path / "png")
    assert ncfm_(*export, "--stored").code == 0
    before = contents(tmp_path / "png")
    assert len(before) == 21
    again = ncfm_(*export)
    assert (again.code, again.out) == (2, "")
    assert "replace it with --force" in again.err
    assert contents(tmp_path / "png") == before
    assert ncfm_(*export, "--force").code == 0
    assert len(contents(tmp_path / "png")) == 81
    photos = ncfm_("export", tmp_path / "run", "--to", "png", "--out", tmp_path / "run", "--force")
    assert photos.code == 2
    assert "not an ncfm export" in photos.err
    assert (tmp_path / "run" / "scores.json").is_file()


@pytest.fixture
def fake_hub(monkeypatch):
    """In place of the hub: what it is asked for."""
    asked = []

    class Fake:
        def create_repo(self, repo_id, **options):
            asked.append(repo_id)

        def upload_folder(self, *, folder_path, **options):
            asked.append(folder_path)

    monkeypatch.setattr(hub, "hub_api", Fake)
    return asked


@pytest.mark.parametrize(("answer", "sent"), [("y\n", True), ("n\n", False), (None, True)])
def test_export_asks_before_it_sends(ncfm_, tmp_path, mosaics, fake_hub, monkeypatch, answer, sent):
    out = tmp_path / "hf"
    yes = ["--yes"] if answer is None else []
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer or ""))
    done = ncfm_("export", tmp_path / "run", "--to", "hf", "--out", out, "--push", "me/set", *yes)
    assert done.code == 0, done.err
    assert ("Upload 80 images" in done.err) == (answer is not None)
    assert fake_hub == (["me/set", str(out)] if sent else [])
    assert ("https://huggingface.co/datasets/me/set" if sent else "Not uploaded.") in done.out
    card = (out / "README.md").read_text()
    assert 'load_dataset("me/set"' in card
    assert "90.0 ± 1.0 | 88.0 to 92.0" in card


def test_nothing_is_sent_without_an_answer(ncfm_, tmp_path, mosaics, fake_hub, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    done = ncfm_("export", tmp_path / "run", "--to", "hf", "--out", tmp_path / "hf", "--push", "me/set")
    assert done.code == 1
    assert fake_hub == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "png", "--push", "me/set"], "--push uploads --to hf only"),
        (["--to", "hf", "--push", "set"], "Expected owner/name"),
        (["--to", "png", "--bits", "32"], "bits of a pixel must be 8"),
        (["--to", "jpg"], "Unknown format 'jpg'"),
    ],
)
def test_mistakes_of_an_export_write_nothing(ncfm_, tmp_path, mosaics, fake_hub, options, words):
    done = ncfm_("export", tmp_path / "run", "--out", tmp_path / "out", *options)
    assert (done.code, done.out) == (2, "")
    assert words in done.err
    assert not (tmp_path / "out").exists()
    assert fake_hub == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(ncfm_, command):
    done = ncfm_(*command.split(), "--help")
    assert done.code == 0
    assert "Example" in done.out
    assert f"ncfm {command}" in done.out


def test_the_front_page_lists_the_commands(ncfm_):
    done = ncfm_("--help")
    assert all(command.split()[0] in done.out for command in COMMANDS)
    assert f"ncfm {ncfm.__version__}" in ncfm_("--version").out


def test_every_command_is_under_the_tests_above(ncfm_):
    from ncfm.cli.main import app

    names = [c.name for c in app.registered_commands] + [
        f"{g.name} {(c.name or c.callback.__name__).rstrip('_')}"
        for g in app.registered_groups
        for c in g.typer_instance.registered_commands
    ]
    assert sorted(names) == sorted(COMMANDS)


# --- mistakes: exit code 2, one sentence, nothing done ------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["distill", "digts", "--ipc", 1], "Unknown dataset 'digts'.*Did you mean 'digits'"),
        (["compare", "cifar11", "--ipc", 1], "Did you mean 'cifar10'"),
        (["pretrain", "digts"], "Did you mean 'digits'"),
        (["distill", "digits", "--ipc", 1, "--recipe", "digits-ipc"], "Unknown recipe 'digits-ipc'.*Did you mean"),
        (["distill", "digits", "--ipc", 1, "--recipe", "no.toml"], "Expected a recipe file no.toml"),
        (["distill", "digits", "--ipc", 1, "--set", "distill.itertions=3"], "Did you mean 'distill.iterations'"),
        (["distill", "digits", "--ipc", 1, "--set", "distill.factor"], "Expected --set key=value"),
        (["distill", "digits", "--ipc", 1, "--set", "distill.factor=0"], "distill.factor: .*got 0"),
        (["distill", "digits", "--ipc", 0], "ipc .*must be at least 1, got 0"),
        (["distill", "digits", "--ipc", -3], "must be at least 1, got -3"),
        (["compare", "digits", "--ipc", 0], "must be at least 1, got 0"),
        (["distill", "digits"], "ipc"),
        (["distill", "digits", "--ipc", "one"], "as a number"),
        (["distil", "digits"], "distil"),
        (["distill", "digits", "--ipc", 1, "--device", "gpu"], "Unknown device 'gpu'"),
        (["compare", "digits", "--ipc", 1, "--methods", "ncfm,herdin"], "Did you mean 'herding'"),
        (["evaluate", "nowhere"], r"nowhere does not exist \(relative paths start in"),
        (["recipes", "show", "digits-ipc"], "Unknown recipe 'digits-ipc'"),
    ],
    ids=lambda v: " ".join(map(str, v)) if isinstance(v, list) else "",
)
def test_mistakes_are_told(ncfm_, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    done = ncfm_(*arguments)
    assert done.code == 2
    assert re.search(words, " ".join(done.err.split()))
    assert done.out == ""


def test_a_mistake_in_the_settings_leaves_no_folder(ncfm_, tmp_path):
    done = ncfm_("distill", "digits", "--ipc", 1, "--recipe", "none", "-o", tmp_path / "run", *sets(distill__mode="x"))
    assert done.code == 2
    assert not (tmp_path / "run").exists()


def test_unknown_data_leave_no_folder(ncfm_, tmp_path):
    assert ncfm_("distill", "digts", "--ipc", 1, "-o", tmp_path / "run").code == 2
    assert not (tmp_path / "run").exists()


def test_more_images_than_a_class_has(ncfm_, tmp_path):
    done = ncfm_(*distill(tmp_path / "run", ipc=500))
    assert done.code == 2
    assert "lower --ipc" in done.err


def test_a_run_folder_is_not_overwritten(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path))
    before = contents(tmp_path)
    done = ncfm_(*distill(tmp_path))
    assert done.code == 2
    assert "already holds a run; continue it with --resume" in done.err
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"distill__factor": 1}, "config.distill.factor was 2, now 1"),
        ({"distill__iterations": 1}, "config.distill.iterations was 2, now 1"),
        ({"seed": 1}, "config.seed was 0, now 1"),
        ({"ipc": 2}, "ipc was 1, now 2"),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_resume_with_other_settings_is_refused(ncfm_, tmp_path, changes, words):
    ncfm_(*distill(tmp_path))
    before = contents(tmp_path)
    done = ncfm_(*distill(tmp_path, "--resume", **changes))
    assert done.code == 2
    assert "holds a run with other settings" in done.err
    assert words in done.err
    assert contents(tmp_path) == before


def test_resume_on_another_machine_is_allowed(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path))
    assert ncfm_(*distill(tmp_path, "--resume", machine__chunk_size=32)).code == 0


def test_a_run_of_a_version_with_fewer_settings_is_resumed(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path))
    (described,) = tmp_path.rglob("config.json")
    stored = json.loads(described.read_text())
    del stored["config"]["objective"]["gradient_rows"]
    described.write_text(json.dumps(stored))
    assert ncfm_(*distill(tmp_path, "--resume")).code == 0
    done = ncfm_(*distill(tmp_path, "--resume", objective__gradient_rows=7))
    assert "config.objective.gradient_rows was 256, now 7" in done.err


def test_resume_of_nothing_is_refused(ncfm_, tmp_path):
    done = ncfm_(*distill(tmp_path / "run", "--resume"))
    assert done.code == 2
    assert "Nothing to resume" in done.err


def test_a_damaged_state_is_a_failure(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path))
    (tmp_path / CHECKPOINT_FILE).write_bytes(b"\x10\0\0\0\0\0\0\0{")
    done = ncfm_(*distill(tmp_path, "--resume"))
    assert done.code == 1
    assert "damaged" in done.err


@pytest.mark.filterwarnings("default::UserWarning")
def test_a_damaged_configuration_does_not_stop_a_resumed_run(ncfm_, tmp_path, monkeypatch):
    assert ncfm_(*distill(tmp_path / "straight", distill__iterations=4)).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(MinMaxStep, "__call__", interrupted_in_iteration(2))
        assert ncfm_(*distill(tmp_path / "run", distill__iterations=4)).code == 130
    config = tmp_path / "run" / "config.json"
    whole = json.loads(config.read_text())
    config.write_text(config.read_text()[:100])
    done = ncfm_(*distill(tmp_path / "run", "--resume", distill__iterations=4))
    assert done.code == 0
    assert "with the settings that are given" in done.err
    assert (
        whole.pop("data_fingerprint") == build_data("digits", resolve_config("digits", 1, "none", {}, None)).fingerprint
    )
    assert json.loads(config.read_text()) == whole  # the data of the first iterations are not known any more
    a, b = (ncfm.load(tmp_path / name).images for name in ("run", "straight"))
    assert torch.equal(a, b)


def test_two_processes_on_one_folder(ncfm_, tmp_path):
    with sole_user(tmp_path / "run"):
        for command in (distill(tmp_path / "run"), ("compare", "digits", "--ipc", 1, "--out", tmp_path / "run")):
            done = ncfm_(*command)
            assert done.code == 2
            assert f"in use by process {os.getpid()}" in done.err


def test_a_damaged_set_is_a_failure(ncfm_, tmp_path):
    ncfm_(*distill(tmp_path))
    path = tmp_path / "synthetic" / "images.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    done = ncfm_("evaluate", tmp_path)
    assert done.code == 1
    assert "damaged or mixed up" in done.err


def test_a_loss_that_is_not_finite_is_a_failure(ncfm_, tmp_path, monkeypatch):
    def broken(played):
        return StepRecord(torch.tensor(float("nan")), torch.tensor(0.0))

    monkeypatch.setattr(MinMaxStep, "__call__", broken)
    done = ncfm_(*distill(tmp_path))
    assert done.code == 1
    assert "The loss or a gradient was not finite" in done.err
    assert "discrepancy nan" in done.err
    assert not (tmp_path / CHECKPOINT_FILE).exists()


def test_too_little_memory_is_a_failure_in_a_sentence(ncfm_, tmp_path, monkeypatch):
    def fit(*arguments, **options):
        raise RuntimeError("could not create a primitive")  # oneDNN

    monkeypatch.setattr(pretraining, "fit", fit)
    done = ncfm_(*distill(tmp_path))
    assert done.code == 1
    assert "Not enough memory (could not create a primitive)" in done.err


# --- a full disk --------------------------------------------------------------------------------------------


def full(*arguments, **options):
    raise OSError(28, "No space left on device")


def test_a_full_disk_at_the_start_is_a_failure(ncfm_, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", full)
    done = ncfm_(*distill(tmp_path / "run"))
    assert done.code == 1
    assert "config.json" in done.err
    assert "No space left on device" in done.err
    assert files_of(tmp_path) == []


def test_a_full_disk_on_the_way_leaves_the_old_files(ncfm_, tmp_path, monkeypatch):
    # Interrupted with its state saved, then resumed on a disk that is full: the state must survive.
    monkeypatch.setattr(MinMaxStep, "__call__", interrupted_in_iteration(2))
    assert ncfm_(*distill(tmp_path, distill__iterations=4)).code == 130
    before = contents(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(_files, "save_file", full)  # tensors; JSON still fits
        done = ncfm_(*distill(tmp_path, "--resume", distill__iterations=4))
    assert done.code == 1
    assert "No space left on device" in done.err
    assert "distill: with --resume" in done.err
    after = contents(tmp_path)
    assert after.keys() == before.keys()  # no temporary file is left
    assert {p.name for p in after if after[p] != before[p]} <= {"metrics.jsonl"}
    assert ncfm_(*distill(tmp_path, "--resume", distill__iterations=4)).code == 0
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2  # iterations 1 and 4


# --- Ctrl-C -------------------------------------------------------------------------------------------------

PLAY = MinMaxStep.__call__


def interrupted_in_iteration(number):
    """An iteration during which, once, somebody presses Ctrl-C."""
    played = []

    def play(step):
        played.append(1)
        if len(played) == number:
            os.kill(os.getpid(), signal.SIGINT)
        return PLAY(step)

    return play


def test_a_set_grows(ncfm_, tmp_path):
    small, grown = tmp_path / "small", tmp_path / "grown"
    assert ncfm_(*distill(small)).code == 0
    more = ("distill", "digits", "--ipc", 2, "--recipe", "none", "--out", grown, "--extend", small)
    assert ncfm_(*more, *sets(distill__iterations=0)).code == 0
    before, after = ncfm.load(small), ncfm.load(grown)
    assert torch.equal(after.images[:, :1], before.images)
    assert after.facts["config"]["distill"]["extend"] == str(small)
    assert "distill.extend=small" in after.facts["variant"].split(",")
    done = ncfm_("distill", "digits", "--ipc", 1, "--recipe", "none", "--out", tmp_path / "less", "--extend", grown)
    assert done.code == 2
    assert "2 images per class, more than the requested 1" in done.err
    assert not (tmp_path / "less").exists()  # told before the teachers are trained


def test_a_start_from_realistic_crops_is_that_of_the_teachers(ncfm_, tmp_path):
    out = tmp_path / "run"
    assert ncfm_(*distill(out, distill__init="rded", distill__iterations=0)).code == 0
    found = ncfm.load(out)
    config = resolve_config("digits", 1, "none", SETTINGS, None)
    images = build_data("digits", config)
    pool = build_teachers(images, config, build_machine(config.machine, 8))
    expected = rded(images, pool, ipc=1, factor=2, generator=generator(0, "rded"), decode=True)
    assert torch.equal(found.images, expected.images)
    assert found.formation == Formation(2, "single", 128)
    done = ncfm_(*distill(tmp_path / "both", "--extend", out, distill__init="rded"))
    assert done.code == 2
    assert "choose one" in done.err
    assert not (tmp_path / "both").exists()


def test_an_extended_run_resumes_as_if_never_stopped(ncfm_, tmp_path, monkeypatch):
    assert ncfm_(*distill(tmp_path / "small")).code == 0

    def grow(name, *options):
        command = ("distill", "digits", "--ipc", 2, "--recipe", "none", "--out", tmp_path / name)
        return ncfm_(*command, "--extend", tmp_path / "small", *options, *sets(distill__iterations=4)).code

    with monkeypatch.context() as patch:
        patch.setattr(MinMaxStep, "__call__", interrupted_in_iteration(2))
        assert grow("run") == 130
    assert grow("run", "--resume") == grow("straight") == 0
    a, b = (ncfm.load(tmp_path / name).images for name in ("run", "straight"))
    assert torch.equal(a, b)


def test_ctrl_c_while_teachers_are_trained(ncfm_, tmp_path, monkeypatch):
    def fit(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    monkeypatch.setattr(pretraining, "fit", fit)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores Ctrl-C
    try:
        assert ncfm_(*distill(tmp_path)).code == 130
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_and_resume(tmp_path, ncfm_):
    # A process of its own, as in a terminal; its first checkpoint tells that it is on its way.
    out, changes = tmp_path / "stopped", {"distill__iterations": 100}
    running = warm.Running(warm.ncfm, *distill(out, **changes, machine__checkpoint_seconds=0.1))
    for _ in range(30_000):  # five minutes on a busy machine: a teacher comes first
        if (out / CHECKPOINT_FILE).is_file() or running.process.exitcode is not None:
            break
        time.sleep(0.01)
    os.kill(running.process.pid, signal.SIGINT)
    code, _, err = running.ended()
    assert code == 130, err
    assert "Traceback" not in err
    assert f"The state is saved in {out}. Run the same command with --resume" in err
    assert not (out / "synthetic").exists()

    assert ncfm_(*distill(out, "--resume", **changes)).code == 0
    assert ncfm_(*distill(tmp_path / "straight", **changes)).code == 0
    a, b = (ncfm.load(folder).images for folder in (out, tmp_path / "straight"))
    assert torch.equal(a, b)
    states = [load_file(folder / CHECKPOINT_FILE) for folder in (out, tmp_path / "straight")]
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[1])


def test_the_command_is_told_as_one_would_type_it(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/site-packages/ncfm/__main__.py", "evaluate", "my run"])
    assert results.command_line() in {"ncfm evaluate 'my run'", "python -m ncfm evaluate 'my run'"}


def test_a_process_ends_with_the_code_and_without_a_traceback(tmp_path):
    command = [sys.executable, "-m", "ncfm", "distill", "digts", "--ipc", "1", "--out", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Did you mean 'digits'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_debug_shows_where_an_error_came_from():
    ended = warm.run(warm.ncfm, "--debug", "recipes", "show", "cifar10-ipc11")
    assert ended.code == 2
    trace, _, said = ended.err.rpartition("InputError: Unknown recipe")
    assert trace.startswith("Traceback")
    assert "recipe_path" in trace
    assert "ncfm: Unknown recipe 'cifar10-ipc11'" in said


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            TypeError("no such thing\nat all"),
            70,
            "ncfm: Internal error in ncfm (TypeError: no such thing); ",
        ),
        (
            ZeroDivisionError(),
            70,
            "ncfm: Internal error in ncfm (ZeroDivisionError: ZeroDivisionError); ",
        ),
        (OSError(36, "File name too long", "aaa"), 1, "ncfm: File name too long: aaa."),
        (ConnectionError("no route"), 1, "ncfm: no route."),
        (MemoryError(), 1, "ncfm: Not enough memory (MemoryError). "),
        (RuntimeError("CUDA out of memory. Tried"), 1, "ncfm: Not enough memory (CUDA out of memory. Tried). "),
        (KeyboardInterrupt(), 130, "ncfm: interrupted. "),
    ],
)
def test_whatever_goes_wrong_is_told_in_a_sentence(monkeypatch, capfd, error, code, said):
    def fail():
        raise error

    monkeypatch.setattr("ncfm.cli.main.app", fail)
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == code
    out, err = capfd.readouterr()
    assert (out, err[: len(said)]) == ("", said)
    assert "Traceback" not in err
    assert err.count("\n") == 1


def test_ctrl_c_is_told_in_a_sentence(ncfm_, monkeypatch):
    """Typer makes an exit of it, without a word."""

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("ncfm.describe", stopped)
    done = ncfm_("data", "digits")
    assert (done.code, done.out) == (130, "")
    assert done.err.startswith("ncfm: interrupted. Finished teachers, sets and scores are kept. ")


def test_names_that_are_too_long_are_told_so(ncfm_, tmp_path):
    name = "a" * 300
    for command in (("evaluate", name), ("report", name), ("distill", "digits", "--ipc", 1, "--out", tmp_path / name)):
        done = ncfm_(*command)
        assert done.code == 1
        assert "ncfm: File name too long: " in done.err
    assert ncfm_("distill", "digits", "--ipc", 1, "--recipe", f"{name}.toml").code == 2


def test_a_row_says_that_validation_data_judged(ncfm_, tmp_path):
    out, rows = tmp_path / "run", tmp_path / "rows.csv"
    assert ncfm_(*distill(out, data__validation=0.2)).code == 0
    assert ncfm_("evaluate", out, "--results", rows).code == 0
    assert ncfm_("score", out, "--results", tmp_path / "scores.csv", "--runs", 2).code == 0
    for path in (rows, tmp_path / "scores.csv"):
        with path.open(newline="") as file:
            assert [row["dataset"] for row in csv.DictReader(file)] == ["digits@validation"], path
