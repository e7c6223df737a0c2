"""The tables of ranks and the plan, by hand."""

from __future__ import annotations

from benchmarks.records import DRAWS, MESSAGE
from tools.pages.scaling import PLANNED, plan_table, ranks_table, scaling_table


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


def test_the_plan_of_imagenet_adds_what_is_shared_to_what_is_not():
    def row(case, ranks, seconds):
        return {"case": case, "ranks": str(ranks), "seconds_median": str(seconds)}

    rows = [row(PLANNED, 1, 8.0), row(PLANNED, 2, 4.5), row(DRAWS, 1, 0.05), row(f"{MESSAGE} (7 numbers)", 2, 0.01)]
    table = plan_table(rows, 1800, (1, 100)).splitlines()
    assert table[2] == "| 1 | 800 | 100.0 % | 400 |"  # 0.05 + 100 * 8
    assert table[3] == "| 100 | 9.06 | 99.3 % | 4.53 |"  # 0.05 + 0.01 + 2 * 4.5
    assert len(plan_table([], 1800, (1,)).splitlines()) == 2
