"""The table of ablations, by hand."""

from __future__ import annotations

import dataclasses

from tools.pages.ablations import Ablated, ablation_table, adversary_cost_table, adversary_table

from cost_rows import COST, written


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


def test_the_cost_of_an_adversary_is_that_over_fixed_frequencies(tmp_path):
    measured = {"ncfm, fixed": 2.0, "ncfm, fisher": 2.5, "ncfm": 2.2, "ncfm, entropic": 1.9}
    race = [
        dataclasses.replace(COST, benchmark="step:adversaries", implementation=name, cpu_seconds_median=seconds)
        for name, seconds in measured.items()
    ]
    other = dataclasses.replace(COST, implementation="ncfm, fixed", cpu_seconds_median=99.0)  # of another benchmark
    end = "1 core of CPU (AVX9) | 2026-01-02 |"
    assert adversary_cost_table(written(tmp_path, *race, other)).splitlines()[2:] == [
        f"| 1024 | fixed frequencies | 2.00 | 1.00 | {end}",
        f"| 1024 | learned frequencies | 2.20 | 1.10 | {end}",
        f"| 1024 | `fisher` | 2.50 | 1.25 | {end}",
        f"| 1024 | `entropic` | 1.90 | 0.95 | {end}",
    ]


def test_adversaries_by_extractor_with_half_the_width_of_the_interval():
    def row(extractor, mean, low, high):
        told = {
            "training": "one teacher",
            "form": "mixture",
            "criterion": "halves",
            "teacher_epochs": "16",
            "fits": "3",
        }
        return told | {"extractor": extractor, "ratio_mean": mean, "ratio_low": low, "ratio_high": high}

    rows = [row("A", "1.75663", "1.70", "1.80"), row("B", "1.01", "", "")]
    start = "| one teacher | mixture | halves |"
    assert adversary_table(rows).splitlines()[2:] == [f"{start} 1.76 ± 0.05 | 1.01 | 16 | 3 |"]
