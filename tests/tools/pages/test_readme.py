"""The table of the README, by hand."""

from __future__ import annotations

import dataclasses

from tools.pages.readme import overview_table

from ncfm.results.files import append_rows, read_rows
from tiny import ROW


def test_the_overview_by_hand(tmp_path):
    path = tmp_path / "rows.csv"
    append_rows(path, [dataclasses.replace(ROW, training_images=25000), dataclasses.replace(ROW, accuracy_mean=0.5)])
    part, random = read_rows(path)
    rows = [("cifar100-ipc10", part, 48.7, None), ("digits-ipc1", random | {"training_images": ""}, None, random)]
    assert overview_table(rows).splitlines()[2:] == [
        "| cifar100 (25,000 of 50,000 images) | 10 | 91.2 ± 1.2 | 88.0 to 94.0 | 48.7 | - |",
        "| digits | 1 | 50.0 ± 1.2 | 88.0 to 94.0 | - | 50.0 ± 1.2 |",
    ]
