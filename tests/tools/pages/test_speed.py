"""The tables of the page on speed, by hand."""

from __future__ import annotations

import dataclasses

from benchmarks.profile import rows_of
from tools.pages.speed import (
    cost_table,
    growth_table,
    kernels_table,
    memory_of_many_table,
    profile_table,
    step_table,
)

from cost_rows import COST, written
from ncfm.results.files import append_rows
from ncfm.workflows.profile import Profile, StageCost
from tools.pages import sources, speed


def test_each_form_of_the_published_loop_is_compared_with_the_same_form(tmp_path):
    measured = {"ncfm": 2.0, "ncfm, fixed": 1.0, "reference": 5.0, "reference, learned": 9.0, "ncfm, float32": 3.0}
    rows = [dataclasses.replace(COST, implementation=name, cpu_seconds_median=s) for name, s in measured.items()]
    end = "140 | 900 | 1 core of CPU (AVX9) | 2026-01-02 |"
    assert step_table(written(tmp_path, *rows)).splitlines()[2:] == [
        f"| 64 x 1024 | published loop, as shipped | 5 | 5.0 | {end}",
        f"| 64 x 1024 | published loop, learned frequencies | 9 | 4.5 | {end}",
        f"| 64 x 1024 | ncfm, fixed frequencies | 1 | - | {end}",
        f"| 64 x 1024 | ncfm, default (learned frequencies) | 2 | - | {end}",
        f"| 64 x 1024 | ncfm, float32 | 3 | 1.5 | {end}",
    ]


def test_rows_of_an_older_version_are_dropped(tmp_path):
    old = dataclasses.replace(COST, implementation="reference", commit="b", cpu_seconds_median=7.0)
    no_cpu = dataclasses.replace(COST, cpu_seconds_median=None, num_frequencies=4096)
    lines = step_table(written(tmp_path, old, no_cpu, COST)).splitlines()[2:]
    assert len(lines) == 1
    assert lines[0].startswith("| 64 x 1024 | ncfm, default (learned frequencies) | 2 | - |")


def test_memory_is_shown_where_there_are_many_classes_and_it_was_measured(tmp_path):
    many = dataclasses.replace(COST, dataset="cifar100", ipc=50, num_classes=100)
    unmeasured = dataclasses.replace(many, dataset="random", iteration_memory_mb=None)
    other = dataclasses.replace(many, implementation="ncfm, float32", ipc=10)
    later = dataclasses.replace(many, cpu_seconds_median=31.76, iteration_memory_mb=548.4, peak_memory_mb=1292.45)
    assert memory_of_many_table(written(tmp_path, COST, many, unmeasured, other, later)).splitlines()[2:] == [
        "| cifar100 | 50 | 31.8 | 548 | 1292 | 1 core of CPU (AVX9) | 2026-01-02 |"
    ]


def test_a_profile_has_the_last_rows_and_the_time_of_an_image(tmp_path):
    stages = (
        StageCost("iteration", "backward", 3.0, 6e9, 0.75, 0.5),
        StageCost("iteration", "everything else", 1.0, 0.0, 0.25, 0.0),
        StageCost("teacher epoch", "forward", 2.0, 4e9, 1.0, 0.25),
    )
    found = Profile(
        stages=stages,
        clock="CPU seconds",
        rates={"float32": 2e9, "bfloat16": 4e9},
        precision="bfloat16",
        iteration_memory_mb=1.0,
        images_per_pass=None,
        training_images=1000,
        device="CPU (AVX9)",
        threads=1,
    )
    rows = [dataclasses.replace(row, date="2026-01-02") for row in rows_of(found, "cifar10", 10, 64, 1024)]
    assert [row.ceiling_precision for row in rows] == [4.0] * 5
    older = [dataclasses.replace(row, stage="gone", command="earlier", seconds=99.0) for row in rows[:1]]
    start, end = "| cifar10, IPC 10, 64 x 1024 |", "| 1 core of CPU (AVX9) | 2026-01-02 |"
    assert profile_table(written(tmp_path, *older, *rows)).splitlines()[2:] == [
        f"{start} iteration: backward | 3 | 75% | 6 | 50% {end}",
        f"{start} iteration: everything else | 1 | 25% | 0 | - {end}",
        f"{start} **iteration** (ceilings, GFLOP per second: 4 in bfloat16, 2 in float32) | 4 | 100% | 6 | - {end}",
        f"{start} teacher epoch: forward | 2 | 100% | 4 | 25% {end}",
        f"{start} **teacher epoch** (2 ms per training image) | 2 | 100% | 4 | - {end}",
    ]


def test_growth_is_the_slope_of_the_upper_half(tmp_path):
    rows = [
        dataclasses.replace(COST, benchmark="scaling:ipc", ipc=ipc, seconds_median=seconds, peak_memory_mb=memory)
        for ipc, seconds, memory in [(1, 5.0, 7.0), (10, 1.0, 10.0), (100, 10.0, 10.0)]
    ]
    assert growth_table(written(tmp_path, *rows)).splitlines()[2:] == [
        "| IPC | 1 to 100 | 1.00 | 0.00 | 1 core of CPU (AVX9) | 2026-01-02 |"
    ]


def test_a_table_of_costs_has_the_last_row_of_each_of_the_last_version(tmp_path):
    rows = [
        dataclasses.replace(COST, implementation=name, seconds_median=s, commit=commit)
        for name, s, commit in [("a", 7, "b"), ("c", 1, "b"), ("a", 1, "a"), ("b", 2, "a"), ("a", 3, "a")]
    ]
    assert cost_table(written(tmp_path, *rows)).splitlines()[2:] == [
        "| a | 3 | 900 | 1 core of CPU (AVX9) | 2026-01-02 |",
        "| b | 2 | 900 | 1 core of CPU (AVX9) | 2026-01-02 |",
    ]


def test_tables_without_profiles_are_empty(tmp_path, monkeypatch):
    append_rows(tmp_path / "results" / "cost.csv", [COST])
    monkeypatch.setattr(sources, "ROOT", tmp_path)
    sources.results.cache_clear()
    tables = speed.tables()
    sources.results.cache_clear()
    wanted = {"step", "memory-of-many", "profile", "growth", "kernels", "students", "memory", "loading"}
    assert tables.keys() == wanted
    assert len(tables["profile"].splitlines()) == 2


def test_kernels_in_milliseconds_the_last_row_of_each_way(tmp_path):
    timed = {"benchmark": "kernels:convnet3", "image_size": 32, "seconds_min": 0.001, "seconds_max": 0.004}
    slow, fast, later = (
        dataclasses.replace(COST, **timed, implementation=way, seconds_median=seconds, ratio_to_reference=ratio)
        for way, seconds, ratio in (("PyTorch", 0.003, 1.0), ("kernels", 0.0015, 2.0), ("kernels", 0.00125, 2.4))
    )
    end = "1 core of CPU (AVX9) | 2026-01-02 |"
    assert kernels_table(written(tmp_path, COST, slow, fast, later)).splitlines()[2:] == [
        f"| convnet3, 32 px | PyTorch | 3.00 | 1.00 to 4.00 | 1.0 | {end}",
        f"| convnet3, 32 px | kernels | 1.25 | 1.00 to 4.00 | 2.4 | {end}",
    ]
