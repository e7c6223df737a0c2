"""The table of ablations, by hand."""

from __future__ import annotations

from tools.pages.ablations import Ablated, ablation_table


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
