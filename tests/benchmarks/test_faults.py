"""The short versions of the fault campaign and of the fuzzing: processes of their own, since they fork."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest

import warm

ROOT = Path(__file__).parents[2]


def test_nothing_but_our_own_errors_comes_of_damaged_files(tmp_path):
    results = tmp_path / "fuzz.csv"
    ended = warm.run(warm.module, "benchmarks.fuzz", "--inputs", 960, "--seed", 1, "--results", results)
    assert ended.code == 0, ended.out + ended.err
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 47
    assert sum(int(row["refused"]) for row in rows) > 400
    assert all(int(row["read"]) + int(row["refused"]) == int(row["inputs"]) for row in rows)


@pytest.mark.slow
def test_every_fault_is_survived(tmp_path):
    results = tmp_path / "faults.csv"
    command = [sys.executable, "-m", "benchmarks.faults", "--kills", "10", "--cuts", "8", "--results", str(results)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with results.open() as file:
        rows = list(csv.DictReader(file))
    assert {row["fault"] for row in rows} >= {
        "kill -9",
        "SIGTERM, Ctrl-C",
        "two at once",
        "short of memory",
        "file cut",
    }
    assert all(row["survived"] == row["tried"] for row in rows)
    assert all(int(row["lost_iterations_max"]) == 0 for row in rows if row["fault"] == "SIGTERM, Ctrl-C")
