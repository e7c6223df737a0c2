"""The soak: what it calls flat, and that it says so of a short run."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import pytest
from benchmarks.soak import Look, Verdict, Window, judge, look

import warm
from ncfm.results.files import read_rows


def windows(peaks: list[float], means: list[float] | None = None, files: list[int] | None = None) -> list[Window]:
    """One a minute, the last two after the iterations."""
    means = means or [100.0] * len(peaks)
    files = files or [6] * len(peaks)
    return [
        Window(float(minute), min(minute + 1, len(peaks) - 1), 120, peak, mean, 50.0, file, 6)
        for minute, (peak, mean, file) in enumerate(zip(peaks, means, files, strict=True))
    ]


def test_a_window_sums_up_its_looks() -> None:
    window = Window.of([Look(10.0, 5, 2), Look(40.0, 7, 3), Look(10.0, 6, 2)], 1.5, 12)
    assert asdict(window) == {
        "minutes": 1.5,
        "iteration": 12,
        "looks": 3,
        "peak_mb": 40.0,
        "mean_mb": 20.0,
        "floor_mb": 10.0,
        "open_files": 7,
        "process_threads": 3,
    }


def test_what_stays_is_flat() -> None:
    verdict = judge(windows([200.0] * 40))
    assert verdict == Verdict(0.0, 0.0, 0.0, (6, 6), 34.0)  # 38 windows before the last iteration, less 3 of warm-up
    assert verdict.is_flat


def test_growth_is_of_the_last_quarter_over_the_first() -> None:
    rising = [200.0 + minute for minute in range(42)]  # 40 windows count, 4 are warm-up: 4 to 39, quarters of 9
    verdict = judge(windows(rising, rising))
    assert verdict.peak_growth == pytest.approx((200 + 35) / (200 + 8) - 1)
    assert verdict.mean_growth == pytest.approx(verdict.peak_growth)
    assert verdict.mb_per_hour == pytest.approx(60.0)
    assert not verdict.is_flat


@pytest.mark.parametrize("leak", ["peaks", "means", "files"])
def test_any_of_them_that_grows_is_not_flat(leak: str) -> None:
    step = [0] * 21 + [1] * 21
    peaks = [200.0 + 5 * up * (leak == "peaks") for up in step]
    means = [100.0 + 3 * up * (leak == "means") for up in step]
    files = [6 + up * (leak == "files") for up in step]
    assert not judge(windows(peaks, means, files)).is_flat


def test_too_few_windows_are_no_verdict() -> None:
    with pytest.raises(ValueError, match="4 windows of iterations are too few"):
        judge(windows([200.0] * 6))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="read from /proc")
def test_a_look_sees_open_files() -> None:
    before = look(os.getpid())
    with Path(os.devnull).open(), Path(os.devnull).open():
        after = look(os.getpid())
    assert before is not None
    assert after is not None
    assert after.open_files == before.open_files + 2
    assert after.resident_mb > 50  # PyTorch alone is more
    assert look(2**22 + 1) is None  # above the highest process number


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="read from /proc")
def test_a_short_soak_reports_its_curve(tmp_path: Path) -> None:
    results, plot = tmp_path / "soak.csv", tmp_path / "soak.png"
    options = ["--minutes", 0.06, "--every", 0.05, "--window", 0.2]
    options += ["--data", "digits", "--ipc", 1, "--out", tmp_path / "run", "--results", results, "--plot", plot]
    for setting in (
        "teachers.number=1",
        "teachers.epochs=0",
        "teachers.network=convnet1w8",
        "machine.threads=1",
        "machine.checkpoint_seconds=0.2",
    ):
        options += ["--set", setting]
    ended = warm.run(warm.module, "benchmarks.soak", *options)
    assert ended.code in (0, 1), ended.err  # seconds are too few for memory to have settled
    assert "MiB an hour" in ended.out, ended.out + ended.err
    rows = read_rows(results)
    assert int(rows[-1]["iteration"]) > 0
    assert all(float(row["floor_mb"]) <= float(row["mean_mb"]) <= float(row["peak_mb"]) for row in rows)
    assert max(int(row["open_files"]) for row in rows) < 40
    assert plot.stat().st_size > 10_000
