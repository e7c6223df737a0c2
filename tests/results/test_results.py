"""What people read: rows that add up, and tables made of them."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import math
import os
import sys

import pytest
from benchmarks.records import DRAWS, MESSAGE, FaultRow
from tools.tables import (
    PLANNED,
    Ablated,
    ablation_table,
    faults_table,
    fuzz_table,
    gallery_table,
    gap_table,
    label,
    methods_table,
    networks_table,
    overview_table,
    plan_table,
    planned_table,
    race_table,
    ranks_table,
    results_table,
    scaling_table,
    variants_table,
)

from ncfm._utils.checks import NcfmError, RunError
from ncfm.results import files as results
from ncfm.results.files import COLUMNS, append_rows, code_version, read_rows, today
from ncfm.results.formatting import interval_of, mean_of, of_row
from ncfm.results.rows import AccuracyRow

# --- rows ---------------------------------------------------------------------------------------------------
from tiny import ROW


def test_the_first_row_makes_the_file_with_its_header(tmp_path):
    path = tmp_path / "new" / "rows.csv"
    append_rows(path, [ROW])
    lines = path.read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert len(lines) == 2
    (row,) = read_rows(path)
    assert row["command"] == ROW.command  # quotes survive
    assert row["device"] == ROW.device  # and commas
    assert (row["accuracy_mean"], row["accuracy_best_mean"], row["ipc"]) == ("0.91234", "", "1")


def test_rows_are_appended_and_old_ones_kept(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW])
    before = path.read_text()
    append_rows(path, [dataclasses.replace(ROW, method=m) for m in ("random", "mosaic")])
    assert path.read_text().startswith(before)
    assert [r["method"] for r in read_rows(path)] == ["ncfm", "random", "mosaic"]


def test_no_rows_make_an_empty_table(tmp_path):
    append_rows(tmp_path / "rows.csv", [])
    assert read_rows(tmp_path / "rows.csv") == []


def test_a_missing_line_end_is_mended(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW])
    path.write_text(path.read_text().rstrip("\n"))
    append_rows(path, [dataclasses.replace(ROW, seed=8)])
    assert len(read_rows(path)) == 2


def test_a_measurement_is_written_once(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW])
    append_rows(path, [dataclasses.replace(ROW, command="again", date="2030-01-01", commit="f", threads=9)])
    assert len(read_rows(path)) == 1
    slower = dataclasses.replace(ROW, evaluate_seconds=ROW.evaluate_seconds + 1)
    append_rows(path, [dataclasses.replace(slower, commit="f")])  # measured again, with other code
    assert len(read_rows(path)) == 2


def test_the_same_command_writes_a_measurement_once_whatever_time_it_takes(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW])
    again = dataclasses.replace(ROW, evaluate_seconds=9.0, teacher_seconds=8.0, date="2030-01-01", peak_memory_mb=7.0)
    append_rows(path, [again, again])  # its scores could not be kept
    assert [row["evaluate_seconds"] for row in read_rows(path)] == ["8"]
    append_rows(path, [dataclasses.replace(again, accuracy_mean=0.5)])
    assert [row["accuracy_mean"] for row in read_rows(path)] == ["0.91234", "0.5"]


def test_times_are_the_result_of_a_benchmark(tmp_path):
    path, of_benchmark = tmp_path / "rows.csv", dataclasses.replace(ROW, command="python -m benchmarks.students")
    append_rows(path, [of_benchmark, dataclasses.replace(of_benchmark, evaluate_seconds=9.0)])
    assert len(read_rows(path)) == 2


def test_a_damaged_file_is_told_and_left_alone(tmp_path):
    (tmp_path / "rows.csv").write_bytes(b"dataset,ipc\n\xff\xfe")
    with pytest.raises(RunError, match=r"Could not read .*rows\.csv as a table"):
        append_rows(tmp_path / "rows.csv", [ROW])
    assert (tmp_path / "rows.csv").read_bytes() == b"dataset,ipc\n\xff\xfe"


def test_what_is_not_known_is_an_empty_cell(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [dataclasses.replace(ROW, accuracy_low=math.nan, accuracy_high=math.nan, distill_seconds=None)])
    (row,) = read_rows(path)
    assert row["accuracy_low"] == row["accuracy_high"] == row["distill_seconds"] == ""


def test_columns_that_an_earlier_version_did_not_write_are_added(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW])
    old = [{k: v for k, v in row.items() if k not in ("iterations", "storage")} for row in read_rows(path)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, old[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(old)
    append_rows(path, [ROW, dataclasses.replace(ROW, seed=1)])  # the first is known, though it has more columns now
    first, second = read_rows(path)
    assert (first["iterations"], first["storage"], first["accuracy_mean"]) == ("", "", "0.91234")
    assert (second["iterations"], second["storage"], second["seed"]) == ("1000", "10.26", "1")
    assert list(first) == list(second) == [field.name for field in dataclasses.fields(AccuracyRow)]


def test_other_columns_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("name,value\na,1\n")
    with pytest.raises(NcfmError, match=r"rows\.csv has columns .* not know; expected dataset,ipc"):
        append_rows(path, [ROW])
    assert path.read_text() == "name,value\na,1\n"


def test_an_empty_file_gets_its_header(tmp_path):
    path = tmp_path / "rows.csv"
    path.touch()
    append_rows(path, [ROW])
    assert len(read_rows(path)) == 1


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW])
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RunError, match="No space left"):
        append_rows(path, [ROW])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]  # no temporary file is left


def test_missing_rows_are_reported(tmp_path):
    with pytest.raises(NcfmError, match="Expected a results file"):
        read_rows(tmp_path / "rows.csv")


def test_the_conditions_have_the_right_form():
    assert datetime.date.fromisoformat(today()).year >= 2025
    assert code_version().split()[0] == code_version() != ""


# --- tables -------------------------------------------------------------------------------------------------


def test_a_table_by_hand(tmp_path):
    path = tmp_path / "rows.csv"
    full = dataclasses.replace(
        ROW, ipc=135, method="full", variant="", accuracy_mean=0.9751, accuracy_std=0.0, teacher_seconds=None
    )
    gaussian = dataclasses.replace(ROW, variant="gaussian", distill_seconds=None)
    append_rows(path, [ROW, gaussian, full])
    assert results_table(read_rows(path)).splitlines() == [
        "| data | IPC | method | accuracy | 95 % interval | runs | network | protocol | teachers, s | distil, s |",
        "|---|---:|---|---:|:---:|---:|---|---|---:|---:|",
        "| digits | 1 | ncfm | 91.2 ± 1.2 | 88.0 to 94.0 | 3 | convnet | quick | 12 | 100 |",
        "| digits | 1 | ncfm (gaussian) | 91.2 ± 1.2 | 88.0 to 94.0 | 3 | convnet | quick | 12 | - |",
        "| digits | 135 | full | 97.5 ± 0.0 | 88.0 to 94.0 | 3 | convnet | quick | - | 100 |",
    ]


def test_the_overview_by_hand(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [dataclasses.replace(ROW, training_images=25000), dataclasses.replace(ROW, accuracy_mean=0.5)])
    part, random = read_rows(path)
    rows = [("cifar100-ipc10", part, 48.7, None), ("digits-ipc1", random | {"training_images": ""}, None, random)]
    assert overview_table(rows).splitlines()[2:] == [
        "| cifar100 (25,000 of 50,000 images) | 10 | 91.2 ± 1.2 | 88.0 to 94.0 | 48.7 | - |",
        "| digits | 1 | 50.0 ± 1.2 | 88.0 to 94.0 | - | 50.0 ± 1.2 |",
    ]


def test_words_of_earlier_rows_are_shown_in_todays_terms():
    shown = [label(words) for words in ("foreign npz, guided", "film", "dsdm (a memory), bfloat16", "kill -9")]
    assert shown == ["external npz, guided", "snapshots", "dsdm (stateful), bfloat16", "kill -9"]


def test_commands_have_no_folders_of_this_machine(monkeypatch):
    told = ["/opt/bin/ncfm", "continual", "/home/me/set", "--plot=/tmp/a b.png", "--set", "evaluate.runs=3", "runs/x"]
    monkeypatch.setattr(sys, "argv", told)
    assert results.command_line() == "ncfm continual set '--plot=a b.png' --set evaluate.runs=3 runs/x"


def test_a_table_of_networks_by_hand(tmp_path):
    path = tmp_path / "rows.csv"
    ours = dataclasses.replace(ROW, dataset="cifar10", ipc=10, network="vgg11", protocol="quick@epochs=40")
    append_rows(path, [ours, dataclasses.replace(ours, network="mlp")])
    assert networks_table(read_rows(path)).splitlines()[2:] == [
        "| cifar10 | 10 | vgg11 | 91.2 ± 1.2 | 88.0 to 94.0 | 68.0 | 3 | quick@epochs=40 | 8 |",
        "| cifar10 | 10 | mlp | 91.2 ± 1.2 | 88.0 to 94.0 | - | 3 | quick@epochs=40 | 8 |",
    ]


def test_a_table_of_methods_by_hand(tmp_path):
    path = tmp_path / "rows.csv"
    ours = dataclasses.replace(
        ROW,
        method="ncfm",
        variant="gaussian,teachers.network=convnetw32,distill.seconds=60.0",
        iterations=48,
        distill_seconds=60.0,
        storage=1.25,
    )
    ours = dataclasses.replace(ours, teacher_seconds=7.6, distill_memory_mb=512.4)
    none = dataclasses.replace(ours, method="random", variant="", accuracy_mean=0.95, iterations=None)
    none = dataclasses.replace(none, distill_seconds=None, teacher_seconds=None, distill_memory_mb=None)
    asked = dataclasses.replace(ours, accuracy_mean=0.5, variant="", protocol="brief@labels=teacher(T=1 weight=1)")
    append_rows(path, [ours, none, asked])
    assert methods_table(read_rows(path)).splitlines()[2:] == [
        "| digits | 1 | random | 95.0 ± 1.2 | 88.0 to 94.0 | 1.25 | - | - | - | - | - |",
        "| digits | 1 | ncfm (gaussian) | 91.2 ± 1.2 | 88.0 to 94.0 | 1.25 | 48 | 1.25 | 60 | 8 | 512 |",
        "| digits | 1 | ncfm (labels=teacher) | 50.0 ± 1.2 | 88.0 to 94.0 | 1.25 | 48 | 1.25 | 60 | 8 | 512 |",
    ]


def test_a_table_of_ablations_by_hand():
    usual = {0: 0.5, 1: 0.5, 2: 0.5}
    # Of three numbers with a standard deviation of 10 the interval reaches 4.303 * 10 / sqrt(3) = 24.8 to both sides.
    variants = [
        Ablated("minmax", "learned", usual),
        Ablated("alpha", "alpha=0", {0: 0.5, 1: 0.6, 2: 0.7}),
        Ablated("factor", "factor=3", {0: 0.4, 1: 0.4}),
    ]
    assert ablation_table(variants, usual).splitlines()[2:] == [
        "| minmax | learned | 50.0 ± 0.0 | 50.0 to 50.0 | - | - | 71.8 |",
        "| alpha | alpha=0 | 60.0 ± 10.0 | 35.2 to 84.8 | +10.0 | -14.8 to +34.8 | 70.1 |",
        "| factor | factor=3 | 40.0 ± 0.0 | 40.0 to 40.0 | -10.0 | -10.0 to -10.0 | - |",
    ]
    one = ablation_table([Ablated("factor", "factor=3", {0: 0.4})], usual).splitlines()[2]
    assert one == "| factor | factor=3 | 40.0 | - | -10.0 | - | - |"


def test_a_table_of_a_race_has_the_content_of_the_lines():
    measured = [
        ("1", "ncfm", 0.5, 400),
        ("1", "datm, unrolled, 2 steps", 1.0, 500),
        ("1", "datm, unrolled, 80 steps by the line of 2 and 4", 8.0, 3000),
        ("10", "ncfm", 2.0, 800),
        ("10", "datm, replayed, 80 steps by the line of 4 and 8", 30.0, 400),
    ]
    rows = [
        {"ipc": ipc, "implementation": name, "seconds_median": str(seconds), "peak_memory_mb": str(memory)}
        for ipc, name, seconds, memory in measured
    ]
    assert race_table(rows).splitlines()[2:] == [
        "| 1 | ncfm | 0.5 | - | 400 | - |",
        "| 1 | datm, unrolled, 80 steps | 8 | 16 | 3000 | 7.5 |",
        "| 10 | ncfm | 2 | - | 800 | - |",
        "| 10 | datm, replayed, 80 steps | 30 | 15 | 400 | 0.5 |",
    ]


def test_a_table_of_faults_by_hand(tmp_path):
    path = tmp_path / "faults.csv"
    here = dataclasses.asdict(ROW)
    row = FaultRow("kill -9", "distilling", 40, 39, 1.25, 3, 2, *(here[key] for key in LAST))
    append_rows(path, [row, dataclasses.replace(row, stage="exporting", left_behind=0)])
    assert faults_table(read_rows(path)).splitlines()[2:] == [
        "| kill -9 | distilling | 40 | 39 | 1.2 (3) | 2 |",
        "| kill -9 | exporting | 40 | 39 | - | 0 |",
    ]


def test_tables_of_ranks_have_the_last_row_of_what_was_measured_twice():
    compared = {"case": "ncfm", "ranks": "2", "iterations": "30", "difference_max": "0.0003", "rounding_max": "0",
                "same_twice": "True", "seconds_median": "", "speedup": "", "device": "x"}  # fmt: skip
    timed = compared | {"difference_max": "", "seconds_median": "1.25", "speedup": "1.9"}
    assert ranks_table([compared | {"difference_max": "9"}, timed, compared]).splitlines()[2:] == [
        "| ncfm | 2 | 30 | 3.0e-04 | 0 | yes |"
    ]
    assert ranks_table([compared | {"same_twice": "False"}]).endswith("| **no** |\n")
    assert scaling_table([compared, timed | {"seconds_median": "9"}, timed]).splitlines()[2:] == [
        "| ncfm | 2 | 1.25 | 1.90 | x |"
    ]


def test_a_table_of_fuzzing_has_a_sum():
    rows = [{"reader": name, "inputs": "10", "read": "4", "refused": "5", "findings": "1"} for name in "ab"]
    assert fuzz_table(rows).splitlines()[2:] == [
        "| a | 10 | 4 | 5 | 1 |",
        "| b | 10 | 4 | 5 | 1 |",
        "| all | 20 | 8 | 10 | 2 |",
    ]


LAST = ("device", "threads", "command", "commit", "date")


def test_a_table_of_variants_has_their_differences(tmp_path):
    path = tmp_path / "rows.csv"
    plain, other = "distill.iterations=9", "gaussian,distill.iterations=9"
    measured = [("ncfm", plain, 0, 0.5), ("ncfm", other, 0, 0.6), ("ncfm", other, 1, 0.7), ("mse", plain, 0, 0.3)]
    append_rows(
        path,
        [
            dataclasses.replace(ROW, method=method, variant=variant, seed=seed, accuracy_mean=mean)
            for method, variant, seed, mean in measured
        ],
    )
    assert variants_table(read_rows(path)).splitlines()[2:] == [
        "| gaussian | 2 | 65.0 | +10.0 |",  # the default has no second seed
        "| default | 1 | 50.0 | - |",
        "| mse: default | 1 | 30.0 | -20.0 |",
    ]


def test_a_table_of_one_student_has_no_interval(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [dataclasses.replace(ROW, num_runs=1, accuracy_low=math.nan, accuracy_high=math.nan)])
    line = results_table(read_rows(path)).splitlines()[2]
    assert "nan" not in line
    assert "88.0" not in line


def test_switches_against_the_first_seed_by_seed():
    def rows(*accuracies, best=""):
        return [
            {"seed": str(seed), "accuracy_mean": str(value), "accuracy_best_mean": best and str(value + best)}
            for seed, value in enumerate(accuracies)
        ]

    # Differences of 1 and 3 points: mean 2, standard error 1, t of one degree of freedom at 97.5 %: 12.7.
    looked = gap_table({"ours": rows(0.5, 0.6, best=0.01), "other": rows(0.51, 0.63, best=0.02), "one": rows(0.4)})
    assert looked.splitlines()[2:] == [
        "| ours | 2 | 55.0 ± 7.1 | - | - | +1.0 |",
        "| other | 2 | 57.0 ± 8.5 | +2.0 | -10.7 to +14.7 | +2.0 |",
        "| one | 1 | 40.0 | -10.0 | - | - |",
    ]
    assert gap_table({"ours": rows(0.5), "other": rows(0.6)}).splitlines() == [
        "| switch | datasets | last epoch | effect | 95 % interval |",
        "|---|---:|---:|---:|:---:|",
        "| ours | 1 | 50.0 | - | - |",
        "| other | 1 | 60.0 | +10.0 | - |",
    ]


def test_rows_that_have_not_been_run_have_a_predicted_time():
    planned = {"teacher_seconds": "90", "distill_seconds": "9000", "evaluate_seconds": "1e6"}
    planned |= {"device": "cpu", "threads": "2"}
    table = planned_table([("one", 71.8, planned), ("two", None, None)])
    assert table.splitlines()[2:] == [
        "| one | 71.8 | 90 s | 2.5 h | 11.6 days | 11.7 days | 2 cores of cpu |",
        "| two | - | - | - | - | - | - |",
    ]


def test_every_line_of_a_table_has_its_columns(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW, dataclasses.replace(ROW, variant="alpha=1")])
    assert {line.count("|") for line in results_table(read_rows(path)).splitlines()} == {11}


def test_the_columns_are_the_rows_fields(tmp_path):
    append_rows(tmp_path / "rows.csv", [ROW])
    with (tmp_path / "rows.csv").open(newline="") as file:
        header, cells = csv.reader(file)
    assert dict(zip(header, cells, strict=True)).keys() == dataclasses.asdict(ROW).keys()


def test_the_plan_of_imagenet_adds_what_is_shared_to_what_is_not():
    def row(case, ranks, seconds):
        return {"case": case, "ranks": str(ranks), "seconds_median": str(seconds)}

    rows = [row(PLANNED, 1, 8.0), row(PLANNED, 2, 4.5), row(DRAWS, 1, 0.05), row(f"{MESSAGE} (7 numbers)", 2, 0.01)]
    table = plan_table(rows, 1800, (1, 100)).splitlines()
    assert table[2] == "| 1 | 800 | 100.0 % | 400 |"  # 0.05 + 100 * 8
    assert table[3] == "| 100 | 9.06 | 99.3 % | 4.53 |"  # 0.05 + 0.01 + 2 * 4.5
    assert len(plan_table([], 1800, (1,)).splitlines()) == 2


def test_the_table_of_sets_has_a_line_for_each_score():
    score = {"accuracy_mean": 0.5, "accuracy_std": 0.01, "accuracy_low": 0.475, "accuracy_high": 0.525}
    score |= {"accuracies": [0.49, 0.51], "protocol": "quick"}
    told = {"class_names": ["a", "b"], "ipc": 3, "bits": 8, "images_hash": "0123456789abcdef"}
    told["scores"] = [score, score | {"protocol": "brief"}]
    plain = {**told, "facts": {"method": "ncfm", "variant": ""}}
    other = {**told, "facts": {"method": "mmd", "variant": "distill.factor=1"}, "scores": [score]}
    lines = gallery_table([("x", plain, 12_345), ("y", other, 1_234_567)]).splitlines()
    assert lines[2] == "| x | 2 x 3 | ncfm | 12 kB, 8 bits | 50.0 ± 1.0 | 47.5 to 52.5 | 2 x quick | `01234567` |"
    assert "2 x brief" in lines[3]
    assert lines[4].startswith("| y | 2 x 3 | mmd (distill.factor=1) | 1,235 kB, 8 bits |")
    assert len(lines) == 5


def test_an_accuracy_of_one_student_has_no_deviation():
    row = {"accuracy_mean": "0.667", "accuracy_std": "0", "accuracy_low": "", "accuracy_high": ""}
    assert of_row(row) == ("66.7", "-")
    three = {"accuracy_mean": "0.665", "accuracy_std": "0.0051", "accuracy_low": "0.653", "accuracy_high": "0.677"}
    assert of_row(three) == ("66.5 ± 0.5", "65.3 to 67.7")
    assert mean_of(0.667, 0.0, float("nan")) == "66.7"
    assert interval_of(float("nan"), float("nan")) == interval_of(None, None) == "-"
