"""Files are written whole or not at all; content has a name; damage is told."""

from __future__ import annotations

import errno
import hashlib
import math
import time

import pytest
import torch
from safetensors.torch import save_file

from ncfm._utils import files as _files
from ncfm._utils.checks import NcfmError
from ncfm._utils.files import (
    BackgroundTask,
    best_effort,
    cache_dir,
    content_hash,
    read_json,
    read_tensors,
    write_atomically,
    write_json,
    write_tensors,
)


def names_in(folder):
    return sorted(p.name for p in folder.iterdir())


def half_a_file(path):
    """A writer that dies in the middle, as when a program is interrupted."""
    path.write_text("half of")
    raise KeyboardInterrupt


def full_disk(path):
    path.write_text("half of")
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_writer_that_fails_leaves_the_old_file_alone(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(target, half_a_file)
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["result.txt"]


def test_a_full_disk_is_told_with_the_path_and_how_to_mend(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old")
    with pytest.raises(NcfmError, match=r"No space left on device.*--resume") as caught:
        write_atomically(target, full_disk)
    assert str(target) in str(caught.value)
    assert target.read_text() == "old"
    assert names_in(tmp_path) == ["result.txt"]


def test_a_full_disk_is_told_for_tensors_too(tmp_path, monkeypatch):
    def save(tensors, path, metadata):
        full_disk(path)

    monkeypatch.setattr(_files, "save_file", save)
    with pytest.raises(NcfmError, match="No space left"):
        write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(2)})
    assert names_in(tmp_path) == []


def test_the_new_file_replaces_the_old_one_and_is_readable_by_all(tmp_path):
    target = tmp_path / "below" / "result.txt"  # the folder is made
    for text in ("old", "new"):
        write_atomically(target, lambda p, text=text: p.write_text(text) and None)
    assert target.read_text() == "new"
    assert names_in(target.parent) == ["result.txt"]
    assert target.stat().st_mode & 0o777 == 0o644


def test_the_old_file_is_there_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "result.txt"
    target.write_text("old")

    def write(path):
        path.write_text("new")
        assert target.read_text() == "old"
        assert path.parent == tmp_path  # the same file system, or the rename would be a copy

    write_atomically(target, write)
    assert target.read_text() == "new"


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(NcfmError, match="Could not write"):
        write_json(tmp_path / "file" / "x.json", {})


def test_best_effort_hides_only_a_failure_to_write():
    with best_effort():
        raise NcfmError("disk full")
    with pytest.raises(ZeroDivisionError), best_effort():
        raise ZeroDivisionError


def test_json_round_trip(tmp_path):
    value = {"name": "Zürich", "accuracy": [0.1, math.inf], "none": None}
    write_json(tmp_path / "x.json", value)
    assert read_json(tmp_path / "x.json") == value
    assert "Zürich" in (tmp_path / "x.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", [b"{", b"\xff\xfe{}", b""])
def test_damaged_json_is_told(tmp_path, damage):
    (tmp_path / "x.json").write_bytes(damage)
    with pytest.raises(NcfmError, match=r"x\.json as JSON"):
        read_json(tmp_path / "x.json")


@pytest.mark.parametrize("read", [read_json, read_tensors])
def test_a_missing_file_is_told(tmp_path, read):
    with pytest.raises(NcfmError, match=r"nowhere, but there is none"):
        read(tmp_path / "nowhere")


def test_tensors_round_trip(tmp_path):
    tensors = {
        "a.b": torch.randn(3, 4, 5, 2).to(memory_format=torch.channels_last),
        "transposed": torch.arange(6.0).view(2, 3).T,
        "with gradient": torch.ones(2, requires_grad=True),
        "scalar": torch.tensor(3),
        "bytes": torch.arange(256, dtype=torch.uint8),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
    }
    write_tensors(tmp_path / "x.safetensors", tensors, {"note": "hello"})
    read = read_tensors(tmp_path / "x.safetensors")
    assert read.keys() == tensors.keys()
    for name, value in tensors.items():
        assert read[name].dtype == value.dtype
        assert torch.equal(read[name], value), name


def truncated(data):
    return data[:-5]


def without_header(data):
    return b"\xff" * 8 + data[8:]


@pytest.mark.parametrize("damage", [truncated, without_header, lambda data: b"", lambda data: b"not tensors"])
def test_damaged_tensors_are_told(tmp_path, damage):
    path = tmp_path / "x.safetensors"
    save_file({"a": torch.arange(10.0)}, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(NcfmError, match=r"x\.safetensors.*damaged"):
        read_tensors(path)


def slow_hash(dtype, shape, data):
    return hashlib.sha256(f"{dtype}{shape}".encode() + data).hexdigest()[:32]


def test_hash_of_a_tensor_has_a_known_value():
    assert content_hash(torch.tensor([[1, 2], [3, 4]], dtype=torch.uint8)) == slow_hash(
        "uint8", "(2, 2)", bytes([1, 2, 3, 4])
    )
    # 1.0 is 0x3f800000 in IEEE 754, lowest byte first.
    assert content_hash(torch.ones(1)) == slow_hash("float32", "(1,)", b"\x00\x00\x80\x3f")


def test_hash_of_text_has_a_known_value():
    # The length comes first, as 8 bytes; written down so that caches of older versions stay valid.
    assert content_hash("ncfm") == hashlib.sha256(b"\0\0\0\0\0\0\0\4ncfm").hexdigest()[:32]
    assert content_hash("ncfm") == content_hash(b"ncfm") == "02948795f9e70a8aacedec8f3c5abcf2"


def test_hash_depends_on_content_not_on_layout():
    x = torch.arange(24.0).view(1, 2, 3, 4)
    assert content_hash(x) == content_hash(x.to(memory_format=torch.channels_last))
    assert content_hash(x) == content_hash(x.clone().requires_grad_())
    assert content_hash(x.transpose(2, 3)) == content_hash(x.transpose(2, 3).contiguous())


def test_hash_tells_everything_apart():
    x = torch.zeros(2, 3, dtype=torch.uint8)
    other = x.clone()
    other[1, 2] = 1
    parts = [
        (x,),
        (other,),
        (x.T,),
        (x.flatten(),),
        (x.to(torch.int8),),
        (x.float(),),
        (x, x),
        (x[:0],),
        ("ab",),
        ("a", "b"),
        ("", "ab"),
        ("ab", ""),
        (),
    ]
    assert len({content_hash(*p) for p in parts}) == len(parts)


def test_cache_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path / "here"))
    assert cache_dir() == tmp_path / "here"
    monkeypatch.setenv("NCFM_CACHE", "")  # set but empty counts as not set
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "ncfm"


def test_background_tasks_run_in_order_and_tell_what_they_raised():
    done, task = [], BackgroundTask()
    for i in range(5):
        task.start(lambda i=i: (time.sleep(0.01), done.append(i))[1])
    task.wait()
    assert done == [0, 1, 2, 3, 4]

    def fail():
        raise NcfmError("disk full")

    task.start(fail)
    with pytest.raises(NcfmError, match="disk full"):
        task.start(lambda: done.append(5))
    task.start(lambda: done.append(6))
    task.close()
    assert done == [0, 1, 2, 3, 4, 6]
