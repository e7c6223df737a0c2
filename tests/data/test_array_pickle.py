"""Pickle files of arrays: those of Python 2 and 3 are read, and no code of theirs runs."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from ncfm._utils.checks import InputError
from ncfm.data.array_pickle import read_array_pickle
from python2_pickle import python2_pickle

ARRAY = np.arange(24, dtype=np.uint8).reshape(4, 6)


def read(path: Path, data: bytes):
    path.write_bytes(data)
    return read_array_pickle(path, "python -c convert")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize(
    "array",
    [ARRAY, np.asfortranarray(ARRAY), ARRAY.astype(">i4"), ARRAY.astype("<f8"), ARRAY[:0], ARRAY > 7],
    ids=["bytes", "fortran", "big-endian", "floats", "empty", "booleans"],
)
def test_arrays_of_every_protocol_come_back(tmp_path, protocol, array):
    content = {"data": array, "labels": [1, 2], b"name": "x", "one": np.float32(0.5), "many": [np.int64(3)]}
    found = read(tmp_path / "x", pickle.dumps(content, protocol))
    assert found["data"].dtype == array.dtype
    assert np.array_equal(found["data"], array)
    assert {key: found[key] for key in ("labels", "name", "one", "many")} == {
        "labels": [1, 2],
        "name": "x",
        "one": 0.5,
        "many": [3],
    }


def test_a_file_of_python_2_is_read(tmp_path):
    found = read(tmp_path / "x", python2_pickle({"data": ARRAY, "labels": [3, 300, 70_000], "filenames": ["é.png"]}))
    assert np.array_equal(found["data"], ARRAY)
    assert found["labels"] == [3, 300, 70_000]
    assert found["filenames"] == ["é.png"]


class Hostile:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def test_no_code_runs(tmp_path):
    target = tmp_path / "made"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps({"data": Hostile(os.mkdir, str(target))}, protocol)
        with pytest.raises(InputError, match=r"asks for \w+\.mkdir, .* only arrays of numbers .* python -c convert"):
            read(tmp_path / "x", data)
    assert not target.exists()
    pickle.loads(data)
    assert target.exists()  # it would have


@pytest.mark.parametrize(
    "data",
    [
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x05numpy\x8c\x08load.foo\x93.",  # a dotted name
        b"(S'true'\nios\nsystem\n.",
        b"cnumpy.core.multiarray\nfromfile\n.",
        b"c_codecs\nencode\n(V1\nVzip\ntR.",
        b"Pid\n.",  # a persistent id
        pickle.dumps({"data": np.array([object], dtype=object)}),
        pickle.dumps({"data": np.zeros(2, "V8")}),
    ],
)
def test_names_and_types_that_no_array_of_numbers_needs_are_refused(tmp_path, data):
    with pytest.raises(InputError, match="only arrays of numbers are read"):
        read(tmp_path / "x", data)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (pickle.dumps({"data": ARRAY})[:-20], "Could not read .* as a pickle of arrays"),
        (b"", "Could not read"),
        (b"no pickle", "Could not read"),
        (b"cnumpy\nndarray\n(K\x01tR.", "Could not read"),  # named, but nothing that can be called
        (pickle.dumps([1]), "expected a pickled dictionary, found list"),
        (pickle.dumps({"data": ARRAY}).replace(b"K\x04K\x06", b"K\x05K\x06"), "Could not read"),
    ],
    ids=["cut", "empty", "text", "call", "list", "shape"],
)
def test_damaged_files_are_reported(tmp_path, data, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path / "x", data)


def test_lists_that_are_nested_without_end_take_no_time(tmp_path):
    """60 lists, each twice in the next: 2 ** 60 paths through them."""
    nested = []
    for _ in range(60):
        nested = [nested, nested]
    assert len(read(tmp_path / "x", pickle.dumps({"data": nested}))["data"]) == 2


def test_an_array_that_is_never_filled_is_reported(tmp_path):
    data = b"(dS'data'\ncnumpy.core.multiarray\n_reconstruct\n(tRs."
    with pytest.raises(InputError, match="Could not read"):
        read(tmp_path / "x", data)
