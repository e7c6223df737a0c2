"""The tables of methods and of their race, by hand."""

from __future__ import annotations

import dataclasses

from tools.pages.methods import methods_table, race_table

from ncfm.results.files import append_rows, read_rows
from tiny import ROW


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
