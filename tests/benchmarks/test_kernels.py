"""The benchmark of the CPU kernels: every way is timed, and its row has seconds per image."""

from __future__ import annotations

import sys

import torch
from benchmarks.records import CostRow

from benchmarks import kernels as benchmark
from ncfm import kernels
from ncfm.results.files import read_rows


def test_every_way_that_runs_here_has_a_row(tmp_path, monkeypatch):
    results = tmp_path / "cost.csv"
    ways = [name for name, way in benchmark.WAYS.items() if not way.compiled]  # compilation takes long
    options = [
        "--only",
        ";".join(ways),
        "--network",
        "convnet1w8",
        "--image-size",
        "8",
        "--batch",
        "2",
        "--repeats",
        "2",
    ]
    monkeypatch.setattr(sys, "argv", ["benchmarks.kernels", *options, "--results", str(results)])
    benchmark.main()
    rows = read_rows(results)
    expected = ["PyTorch's operators"]
    expected += ["kernels"] * kernels.multiplies_in(torch.float32)
    expected += ["kernels, bfloat16"] * kernels.multiplies_in(torch.bfloat16)
    expected += ["kernels, bfloat16 by AMX"] * kernels.use_amx(True)
    assert [row["implementation"] for row in rows] == expected
    assert set(rows[0]) == set(CostRow.__dataclass_fields__)
    assert float(rows[0]["ratio_to_reference"]) == 1
    assert all(0 < float(row["seconds_min"]) <= float(row["seconds_median"]) < 1 for row in rows)
    assert kernels.available() == (len(rows) > 1)  # left switched on
