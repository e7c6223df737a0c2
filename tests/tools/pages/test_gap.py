"""The table of switches, by hand."""

from __future__ import annotations

from tools.pages.gap import gap_table


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
