"""The table of networks, by hand."""

from __future__ import annotations

import dataclasses

from tools.pages.evaluation import networks_table

from ncfm.results.files import append_rows, read_rows
from tiny import ROW


def test_a_table_of_networks_by_hand(tmp_path):
    path = tmp_path / "rows.csv"
    ours = dataclasses.replace(ROW, dataset="cifar10", ipc=10, network="vgg11", protocol="quick@epochs=40")
    append_rows(path, [ours, dataclasses.replace(ours, network="mlp")])
    assert networks_table(read_rows(path)).splitlines()[2:] == [
        "| cifar10 | 10 | vgg11 | 91.2 ± 1.2 | 88.0 to 94.0 | 68.0 | 3 | quick@epochs=40 | 8 |",
        "| cifar10 | 10 | mlp | 91.2 ± 1.2 | 88.0 to 94.0 | - | 3 | quick@epochs=40 | 8 |",
    ]
