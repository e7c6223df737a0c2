"""Rows of results/cost.csv, made by hand."""

from __future__ import annotations

from benchmarks.records import CostRow

from ncfm.results.files import append_rows, read_rows

COST = CostRow(
    benchmark="step",
    implementation="ncfm",
    dataset="cifar10",
    ipc=10,
    real_batch_per_class=64,
    num_frequencies=1024,
    image_size=32,
    num_classes=10,
    seconds_median=9.0,
    seconds_min=9.0,
    seconds_max=9.0,
    peak_memory_mb=900.0,
    ratio_to_reference=None,
    device="CPU (AVX9)",
    threads=1,
    command="python -m benchmarks.step",
    commit="a",
    date="2026-01-02",
    cpu_seconds_median=2.0,
    iteration_memory_mb=140.0,
)


def written(tmp_path, *rows):
    append_rows(tmp_path / "rows.csv", rows)
    return read_rows(tmp_path / "rows.csv")
