"""The table of variants, by hand."""

from __future__ import annotations

import dataclasses

from tools.pages.variants import variants_table

from ncfm.results.files import append_rows, read_rows
from tiny import ROW


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
