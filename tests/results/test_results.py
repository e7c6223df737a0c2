"""Files of results: rows that are appended once, and kept whatever happens."""

from __future__ import annotations

import csv
import dataclasses
import datetime
import math
import os
import sys

import pytest

from ncfm._utils.checks import NcfmError, RunError
from ncfm.results import files as results
from ncfm.results.files import COLUMNS, append_rows, code_version, read_rows, today
from ncfm.results.formatting import interval_of, mean_of, of_row
from ncfm.results.rows import AccuracyRow
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


def test_commands_have_no_folders_of_this_machine(monkeypatch):
    told = ["/opt/bin/ncfm", "continual", "/home/me/set", "--plot=/tmp/a b.png", "--set", "evaluate.runs=3", "runs/x"]
    monkeypatch.setattr(sys, "argv", told)
    assert results.command_line() == "ncfm continual set '--plot=a b.png' --set evaluate.runs=3 runs/x"


def test_the_columns_are_the_rows_fields(tmp_path):
    append_rows(tmp_path / "rows.csv", [ROW])
    with (tmp_path / "rows.csv").open(newline="") as file:
        header, cells = csv.reader(file)
    assert dict(zip(header, cells, strict=True)).keys() == dataclasses.asdict(ROW).keys()


def test_an_accuracy_of_one_student_has_no_deviation():
    row = {"accuracy_mean": "0.667", "accuracy_std": "0", "accuracy_low": "", "accuracy_high": ""}
    assert of_row(row) == ("66.7", "-")
    three = {"accuracy_mean": "0.665", "accuracy_std": "0.0051", "accuracy_low": "0.653", "accuracy_high": "0.677"}
    assert of_row(three) == ("66.5 ± 0.5", "65.3 to 67.7")
    assert mean_of(0.667, 0.0, float("nan")) == "66.7"
    assert interval_of(float("nan"), float("nan")) == interval_of(None, None) == "-"
