"""The tables of faults and of fuzzing, by hand."""

from __future__ import annotations

import dataclasses

from benchmarks.records import FaultRow
from tools.pages.robustness import faults_table, fuzz_table

from ncfm.results.files import append_rows, read_rows
from tiny import ROW

LAST = ("device", "threads", "command", "commit", "date")


def test_a_table_of_faults_by_hand(tmp_path):
    path = tmp_path / "faults.csv"
    here = dataclasses.asdict(ROW)
    row = FaultRow("kill -9", "distilling", 40, 39, 1.25, 3, 2, *(here[key] for key in LAST))
    append_rows(path, [row, dataclasses.replace(row, stage="exporting", left_behind=0)])
    assert faults_table(read_rows(path)).splitlines()[2:] == [
        "| kill -9 | distilling | 40 | 39 | 1.2 (3) | 2 |",
        "| kill -9 | exporting | 40 | 39 | - | 0 |",
    ]


def test_a_table_of_fuzzing_has_a_sum():
    rows = [{"reader": name, "inputs": "10", "read": "4", "refused": "5", "findings": "1"} for name in "ab"]
    assert fuzz_table(rows).splitlines()[2:] == [
        "| a | 10 | 4 | 5 | 1 |",
        "| b | 10 | 4 | 5 | 1 |",
        "| all | 20 | 8 | 10 | 2 |",
    ]
