"""The table of rows that have not been run, by hand."""

from __future__ import annotations

from tools.pages.reproduce import planned_table


def test_rows_that_have_not_been_run_have_a_predicted_time():
    planned = {"teacher_seconds": "90", "distill_seconds": "9000", "evaluate_seconds": "1e6"}
    planned |= {"device": "cpu", "threads": "2"}
    table = planned_table([("one", 71.8, planned), ("two", None, None)])
    assert table.splitlines()[2:] == [
        "| one | 71.8 | 90 s | 2.5 h | 11.6 days | 11.7 days | 2 cores of cpu |",
        "| two | - | - | - | - | - | - |",
    ]
