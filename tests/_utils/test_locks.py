"""One process at a time: the second one reports the owner of the lock, and a killed owner holds nothing."""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ncfm._utils.checks import NcfmError, RunError
from ncfm._utils.locks import LOCK_FILE, OWNER_FILE, sole_user, taking_turns
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


def test_the_second_process_reports_the_owner(holder, tmp_path):
    owner = (
        rf"run is in use by process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\d [\d:]{{8}} \(-c .*run\); wait for it"
    )
    with pytest.raises(NcfmError, match=owner) as error, sole_user(tmp_path / "run"):
        raise AssertionError("held by two")
    assert error.value.exit_code == 2
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe" * 999])
def test_an_owner_that_cannot_be_read_is_another_process(holder, tmp_path, content):
    owner = tmp_path / "run" / OWNER_FILE
    owner.unlink() if content is None else owner.write_bytes(content)
    with pytest.raises(NcfmError, match="in use by") as error, sole_user(tmp_path / "run"):
        raise AssertionError("held by two")
    assert ("by another process;" in str(error.value)) == (not content)
    assert len(str(error.value)) < 700 + len(str(tmp_path))


def test_a_killed_process_holds_nothing(holder, tmp_path):
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()
    assert (tmp_path / "run" / LOCK_FILE).is_file()  # nobody removed it
    with sole_user(tmp_path / "run"):
        assert f"process {os.getpid()} " in (tmp_path / "run" / OWNER_FILE).read_text()
    assert list((tmp_path / "run").iterdir()) == []


def test_a_new_folder_without_results_is_removed(tmp_path):
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
    with pytest.raises(RunError, match="Could not write into"), sole_user(tmp_path / "run"):
        pass


def test_a_file_in_the_place_of_a_folder_is_a_failure(tmp_path):
    (tmp_path / "run").write_text("no folder")
    with pytest.raises(RunError, match="Could not write into"), sole_user(tmp_path / "run"):
        pass


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_not_locked(tmp_path, monkeypatch, code):
    fcntl = pytest.importorskip("fcntl")

    def refuse(*_):
        raise OSError(code, "no locks here")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with sole_user(tmp_path), sole_user(tmp_path), taking_turns(tmp_path / "rows.csv"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_file_that_is_removed_before_it_is_locked_is_created_again(tmp_path, monkeypatch):
    """The holder removes the file between open and lock of the second process, which would lock a nameless file."""
    fcntl = pytest.importorskip("fcntl")
    lock, calls = fcntl.flock, []

    def removing(file, how):
        if not calls:
            (tmp_path / LOCK_FILE).unlink()
        calls.append(how)
        return lock(file, how)

    monkeypatch.setattr(fcntl, "flock", removing)
    with sole_user(tmp_path):
        assert (tmp_path / LOCK_FILE).is_file()
        with pytest.raises(NcfmError, match="in use"), sole_user(tmp_path):
            pass


def append(path, network):
    """A row by a slow process: without a lock the other's row is lost."""
    read = Path.read_text

    def slowly(self, **options):
        text = read(self, **options)
        time.sleep(0.3)
        return text

    Path.read_text = slowly
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


def test_turns_where_nothing_can_be_written_leave_the_error_to_the_writer(tmp_path):
    (tmp_path / "file").touch()
    with taking_turns(tmp_path / "file" / "rows.csv"):
        pass
