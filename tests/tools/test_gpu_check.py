"""The script for a GPU, rehearsed: its steps, what a second call goes on with, and its commands on the CPU."""

import contextlib
import itertools
import os
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from benchmarks.teachers import WAYS, choose

from ncfm.results.files import read_rows
from tools import gpu_files

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "tools" / "gpu_check.sh"
STEPS = ["setup", "tests", "ranks", "bench", "teachers", "paper"]

# In place of Python: it notes its arguments, and ends as the file says that is named like a word of them.
STAND_IN = """#!/usr/bin/env bash
printf '%q ' "$@" >>"{calls}"; echo >>"{calls}"
for word in "$@"; do
  word=${{word##*/}}
  if [ -f "{codes}/$word" ]; then exit "$(cat "{codes}/$word")"; fi
done
"""


class Rehearsal:
    """Calls of the script in a folder of its own, with a stand-in for Python."""

    def __init__(self, folder):
        self.folder, self.calls, self.codes = folder, folder / "calls", folder / "codes"
        self.codes.mkdir()
        self.python = folder / "python"
        self.python.write_text(STAND_IN.format(calls=self.calls, codes=self.codes))
        self.python.chmod(0o755)

    def __call__(self, *steps, **environment):
        """The exit code, the printed lines about steps, and the commands."""
        self.calls.write_text("")
        given = {"PYTHON": self.python, "OUT": self.folder / "out", "WORK": self.folder / "work"}
        given |= {"PARTS": self.folder / "parts", "WHEELS": self.folder / "wheels"} | environment
        done = subprocess.run(
            ["bash", SCRIPT, *steps],
            env=os.environ | {key: str(value) for key, value in given.items()},
            capture_output=True,
            text=True,
            check=False,
        )
        said = [line for line in done.stdout.splitlines() if line.startswith("== ")]
        return done.returncode, said, [shlex.split(line) for line in self.calls.read_text().splitlines()]

    def ends(self, word, code):
        """From now on commands with this word end with this code."""
        (self.codes / word).write_text(str(code))


@pytest.fixture
def rehearsal(tmp_path):
    return Rehearsal(tmp_path)


def modules(commands):
    return [command[1] for command in commands if command[0] == "-m"]


def test_all_steps_run_once(rehearsal):
    code, said, commands = rehearsal()
    assert code == 0, said
    assert [line.split()[1].rstrip(":") for line in said][::2] == STEPS
    benchmarks = ["benchmarks.step", "benchmarks.step", "benchmarks.students", "benchmarks.teachers"]
    assert modules(commands) == ["pytest", "pytest", *benchmarks, "ncfm"]
    assert all("cuda" in command for command in commands if command[0] == "-m")
    code, said, commands = rehearsal()
    assert code == 0
    assert said == [f"== {name}: done before" for name in STEPS]
    assert commands == []
    lines = (rehearsal.folder / "out" / "steps.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in lines] == [["step", "exit"], *([name, "0"] for name in STEPS)]


def test_the_paper_s_schedule_is_asked_for(rehearsal):
    (rehearsal.folder / "work").mkdir()
    (rehearsal.folder / "work" / "teachers.txt").write_text("machine.teachers=together\nteachers.epochs=12\n")
    _, _, commands = rehearsal("setup", "paper", DISTILL_SECONDS=77, MINUTES=3)
    command = commands[-1]
    assert command[:4] == ["-m", "ncfm", "reproduce", "cifar10-ipc10-paper"]
    settings = [after for before, after in itertools.pairwise(command) if before == "--set"]
    assert settings == ["distill.seconds=77", "machine.teachers=together", "teachers.epochs=12"]
    assert 2.5 < float(command[command.index("--budget") + 1]) < 2.8


def test_a_run_that_is_out_of_time_goes_on_with_the_same_teachers(rehearsal):
    work = rehearsal.folder / "work"
    work.mkdir()
    (work / "teachers.txt").write_text("teachers.epochs=12\n")
    rehearsal.ends("reproduce", 75)
    code, said, _ = rehearsal("setup", "paper")
    assert code == 75
    assert said[-1].startswith("== paper: exit 75")
    (work / "teachers.txt").write_text("teachers.epochs=30\n")  # measured again, and faster
    rehearsal.ends("reproduce", 0)
    code, said, commands = rehearsal("setup", "paper")
    assert code == 0
    assert said[0] == "== setup: done before"
    assert "teachers.epochs=12" in commands[-1]


def test_without_the_images_only_the_row_waits(rehearsal):
    rehearsal.ends("gpu_files.py", 2)
    code, said, commands = rehearsal()
    assert code == 75
    assert said[-1] == "== paper: waits for the images (setup)"
    assert "ncfm" not in modules(commands)
    assert "benchmarks.teachers" in modules(commands)
    (rehearsal.codes / "gpu_files.py").unlink()
    code, _, commands = rehearsal()
    assert code == 0
    assert modules(commands) == ["ncfm"]


def test_without_its_packages_nothing_runs(rehearsal):
    rehearsal.ends("gpu_files.py", 1)
    code, said, commands = rehearsal()
    assert code == 1
    assert said[-1].startswith("== setup: exit 1")
    assert modules(commands) == []


def test_a_step_that_fails_ends_no_other(rehearsal):
    rehearsal.ends("benchmarks.step", 3)
    code, said, commands = rehearsal()
    assert code == 1
    assert next(line for line in said if "exit" in line and "exit 0" not in line).startswith("== bench: exit 3")
    assert modules(commands)[-1] == "ncfm"


def test_a_part_of_the_benchmarks_is_not_measured_twice(rehearsal):
    rehearsal.ends("benchmarks.students", 3)
    rehearsal("bench")
    (rehearsal.codes / "benchmarks.students").unlink()
    _, _, commands = rehearsal("bench")
    assert modules(commands) == ["benchmarks.students"]
    _, _, commands = rehearsal("bench", FORCE=1)
    assert modules(commands) == ["benchmarks.step", "benchmarks.step", "benchmarks.students"]


def test_a_step_that_takes_too_long_is_left_for_the_next_call(rehearsal):
    rehearsal.python.write_text("#!/usr/bin/env bash\nexec sleep 60\n")
    code, said, _ = rehearsal("tests", MINUTES=0.12)  # 7 seconds; steps begin with at least 5 left
    assert code == 75
    assert said[-1].startswith("== tests: exit 75")
    code, said, _ = rehearsal("tests", MINUTES=0.01)
    assert (code, said) == (75, ["== tests: no time left"])


# --- the commands themselves ----------------------------------------------------------------------------------


def test_the_commands_of_a_rehearsal_run_on_the_cpu(rehearsal, tmp_path, monkeypatch, own_cache):
    """Those that need no further process, in this one."""
    _, _, commands = rehearsal(REHEARSAL=1)
    wanted = [c for c in commands if c[0] == "-m" and c[1] in ("benchmarks.students", "benchmarks.teachers", "ncfm")]
    assert [command[1] for command in wanted] == ["benchmarks.students", "benchmarks.teachers", "ncfm"]
    monkeypatch.setenv("NCFM_CACHE", str(own_cache))
    for _, module, *arguments in wanted:
        monkeypatch.setattr(sys, "argv", [module, *arguments])
        monkeypatch.delitem(sys.modules, module, raising=False)
        with contextlib.suppress(SystemExit):
            runpy.run_module(module, run_name="__main__")
    rows = read_rows(tmp_path / "work" / "rows" / "cost.csv")
    assert [row["implementation"] for row in rows][-2:] == ["in turn", "side by side"]
    chosen = (tmp_path / "work" / "teachers.txt").read_text().splitlines()
    assert any(way.settings == chosen[:2] for way in WAYS)
    (row,) = read_rows(tmp_path / "work" / "rows" / "accuracy.csv")
    assert row["dataset"] == "digits"
    assert row["num_runs"] == "2"
    assert "distill.seconds=1" in row["variant"]


@pytest.mark.slow
def test_the_whole_rehearsal(tmp_path):
    environment = {"REHEARSAL": "1", "PYTHON": sys.executable, "OUT": tmp_path / "out", "WORK": tmp_path / "work"}
    environment |= {"MINUTES": "60", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", SCRIPT],
        env=os.environ | {key: str(value) for key, value in environment.items()},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert found == {"accuracy.csv", "cost.csv", "log.txt", "paper.tar.gz", "steps.csv", "tests.xml"}
    assert len(read_rows(tmp_path / "out" / "cost.csv")) == 1 + 3 + 2
    assert "SKIPPED" in (tmp_path / "out" / "log.txt").read_text()  # what needs a GPU


# --- the choice of the teachers' training -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "seconds", "expected"),
    [
        # A tenth of the images takes 1 s: an epoch takes 10 s.
        ({"in turn": 2.0, "side by side": 1.0}, 300, ["together", "off", 30]),
        ({"in turn": 1.0, "side by side, compiled": 2.0}, 1000, ["one by one", "off", None]),
        ({"side by side, compiled": 1.0}, 3, ["together", "auto", 1]),
    ],
)
def test_the_fastest_way_is_chosen_with_the_epochs_that_fit(found, seconds, expected):
    teachers, compiling, epochs = expected
    settings = [f"machine.teachers={teachers}", f"machine.compile={compiling}"]
    settings += [] if epochs is None else [f"teachers.epochs={epochs}"]
    assert choose(found, 0.1, 60, seconds) == settings


# --- packages and images ----------------------------------------------------------------------------------------


def test_parts_hold_all_rows_in_files_of_the_given_size(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    source, folder, together = tmp_path / "source", tmp_path / "parts", tmp_path / "together"
    source.mkdir()
    together.mkdir()
    noise = torch.randint(0, 256, (200, 2000), dtype=torch.uint8)
    rows = [row.numpy().tobytes() for row in noise]
    for name, part in (("train-0", rows[:80]), ("train-1", rows[80:160]), ("test-0", rows[160:])):
        pq.write_table(pa.table({"img": part, "label": list(range(len(part)))}), source / f"{name}.parquet")
    gpu_files.write_parts(source, folder, megabytes=0.1)
    parts = sorted(folder.glob("*/*.parquet"))
    assert len({path.parent for path in parts}) == len(parts) >= 5
    assert max(path.stat().st_size for path in parts) < 0.12 * 2**20
    for path in parts[1:]:
        shutil.copy(path, together)
    assert gpu_files.missing_parts(together) == [parts[0].name]
    shutil.copy(parts[0], together)
    assert gpu_files.missing_parts(together) == []
    names = [path.name for path in sorted(together.iterdir()) if path.name.startswith("train")]
    found = [row for name in names for row in pq.read_table(together / name)["img"].to_pylist()]
    assert found == rows[:160]


def test_missing_images_and_packages_are_named(tmp_path, monkeypatch, capsys):
    assert gpu_files.missing_parts(tmp_path) == ["train-*.parquet", "test-*.parquet"]
    assert gpu_files.missing_packages() == []
    version = gpu_files.importlib.metadata.version
    monkeypatch.setattr(
        gpu_files.importlib.metadata, "version", lambda name: "0.1" if name == "typer" else version(name)
    )
    assert gpu_files.check(tmp_path) == 1
    printed = capsys.readouterr().out
    assert "Missing packages: typer>=0.18 (found 0.1)" in printed
    assert "train-*.parquet, test-*.parquet" in printed


def test_the_wheels_are_those_that_the_constraints_pin(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(gpu_files.subprocess, "run", lambda command, check: called.append(command))
    gpu_files.download_wheels(tmp_path, "3.12")
    (command,) = called
    assert any(word.startswith("pydantic==") for word in command)
    assert command[-len(gpu_files.WHEELS) :] == [word for word in command if "==" in word]
