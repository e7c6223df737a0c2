"""The tables of accuracies: grouped, sorted, and without numbers that compare unlike things."""

from __future__ import annotations

import dataclasses
import math

from tools.pages.results import glance_table, grouped, grouped_tables, results_table

from accuracy_rows import ROWS
from ncfm.results.files import append_rows, read_rows
from tiny import ROW


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


def test_a_table_of_one_student_has_no_interval(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [dataclasses.replace(ROW, num_runs=1, accuracy_low=math.nan, accuracy_high=math.nan)])
    line = results_table(read_rows(path)).splitlines()[2]
    assert "nan" not in line
    assert "88.0" not in line


def test_every_line_of_a_table_has_its_columns(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [ROW, dataclasses.replace(ROW, variant="alpha=1")])
    assert {line.count("|") for line in results_table(read_rows(path)).splitlines()} == {11}


def test_groups_are_sorted_and_the_best_is_first():
    groups = grouped(ROWS)
    assert list(groups) == [("cifar10", "2"), ("cifar10", "10"), ("digits", "1"), ("imagenette", "1")]
    assert [r["accuracy_mean"] for r in groups["cifar10", "10"]] == ["0.67", "0.66", "0.38", "0.35"]


def test_a_line_for_each_group():
    lines = glance_table(ROWS).splitlines()[2:]
    assert lines == [
        "| CIFAR-10 | 2 | **50.0** | - | - |",
        "| CIFAR-10 | 10 | **66.0** | 38.0 (herding) | 71.8 |",
        "| Digits | 1 | **90.0** | - | - |",
        "| Imagenette (part) | 1 | **40.0** | - | - |",  # the paper used all of it
    ]


def test_a_heading_for_each_group():
    text = grouped_tables(ROWS)
    assert text.count("### ") == 4
    assert "### CIFAR-10, 10 images per class" in text
    assert "| **ncfm (gaussian)** | 67.0 ± 1.0 | 10.0 to 90.0 |" in text
    assert "*Trained and tested: 3 x convnet, quick.*" in text
