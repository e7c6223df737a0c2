"""One process at a time: who comes second is told who was first, and nobody waits for the dead."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from ncfm._utils import locks as _locks
from ncfm._utils.checks import NcfmError, NcfmFailure
from ncfm._utils.locks import LOCK_FILE, sole_user, taking_turns
from ncfm.results.files import append_rows, read_rows
from tiny import ROW

HOLD = """
import sys, time
from pathlib import Path
from ncfm._utils.locks import sole_user
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_the_second_is_told_who_was_first(holder, tmp_path):
    told = f"run is in use by process {holder.pid} on .* since .*; wait for it"
    with pytest.raises(NcfmError, match=told) as error, sole_user(tmp_path / "run"):
        raise AssertionError("held by two")
    assert error.value.exit_code == 2


def test_a_killed_process_holds_nothing(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK_FILE).is_file()  # nobody removed it
    with sole_user(tmp_path / "run"):
        assert f"process {os.getpid()} " in (tmp_path / "run" / LOCK_FILE).read_text()
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_a_folder_of_which_nothing_came_is_taken_away(tmp_path):
    with pytest.raises(NcfmError, match="no"), sole_user(tmp_path / "a" / "b"):
        raise NcfmError("no")
    assert not (tmp_path / "a" / "b").exists()
    with sole_user(tmp_path / "c"):
        (tmp_path / "c" / "kept").touch()
    assert (tmp_path / "c" / "kept").exists()
    (tmp_path / "old").mkdir()
    with sole_user(tmp_path / "old"):
        pass
    assert (tmp_path / "old").exists()


def test_no_folder_is_no_lock():
    with sole_user(None), sole_user(None):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_a_failure(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(NcfmFailure, match="Could not write into"), sole_user(tmp_path / "run"):
        pass


def test_a_file_in_the_place_of_a_folder_is_a_failure(tmp_path):
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(NcfmFailure, match="Could not write into"), sole_user(tmp_path / "run"):
        pass


def test_a_file_system_without_locks_is_not_held(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(38, "no locks here")

    monkeypatch.setattr(_locks.fcntl, "flock", refuse)
    with sole_user(tmp_path), sole_user(tmp_path):
        pass


def test_a_lock_that_was_removed_meanwhile_is_asked_again(tmp_path, monkeypatch):
    """Its holder removed the file between our opening and our locking it: we would hold what nobody can find."""
    lock, calls = _locks.fcntl.flock, []

    def removing(file, how):
        if not calls:
            (tmp_path / LOCK_FILE).unlink()
        calls.append(how)
        return lock(file, how)

    monkeypatch.setattr(_locks.fcntl, "flock", removing)
    with sole_user(tmp_path):
        assert (tmp_path / LOCK_FILE).is_file()
        with pytest.raises(NcfmError, match="in use"), sole_user(tmp_path):
            pass
    assert len(calls) == 3


def append(path, network):
    """A row by a slow process: without turns the other's row is lost."""
    read = _locks.Path.read_text

    def slowly(self, **options):
        text = read(self, **options)
        time.sleep(0.3)
        return text

    _locks.Path.read_text = slowly
    import dataclasses

    append_rows(path, [dataclasses.replace(ROW, network=network)])


def test_rows_of_two_processes_at_once_are_all_there(tmp_path):
    path = tmp_path / "results" / "rows.csv"
    append_rows(path, [ROW])
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=append, args=(path, f"net{i}")) for i in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert {row["network"] for row in read_rows(path)} == {ROW.network, "net0", "net1", "net2"}
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_turns_where_nothing_can_be_written_leave_the_telling_to_the_writer(tmp_path):
    (tmp_path / "file").touch()
    with taking_turns(tmp_path / "file" / "rows.csv"):
        pass
