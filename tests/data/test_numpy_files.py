"""Arrays of .npy and .npz files: values as they are, objects never loaded."""

import numpy as np
import pytest

from ncfm._utils.checks import InputError
from ncfm.data.numpy_files import NotNumbers, names_in, read_member, read_npy

ARRAY = np.arange(6, dtype=">u2").reshape(2, 3)


def test_arrays_come_as_they_are(tmp_path):
    np.save(tmp_path / "x.npy", ARRAY)
    np.savez_compressed(tmp_path / "x.npz", images=ARRAY, labels=np.asfortranarray(ARRAY))
    assert names_in(tmp_path / "x.npz") == ["images", "labels"]
    members = [read_member(tmp_path / "x.npz", key) for key in ("images", "labels")]
    for found in (read_npy(tmp_path / "x.npy"), *members):
        assert found.dtype == ARRAY.dtype
        assert found.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_objects_are_not_loaded_whatever_lies_next_to_them(tmp_path):
    np.savez(tmp_path / "x.npz", images=ARRAY, labels=np.array([object, None], object))
    with pytest.raises(NotNumbers, match=r"'labels' of .*x\.npz: it holds Python objects.*Save numbers"):
        read_member(tmp_path / "x.npz", "labels")
    assert read_member(tmp_path / "x.npz", "images").tolist() == ARRAY.tolist()


@pytest.mark.parametrize("content", [b"", b"\x80\x04nonsense", b"\x93NUMPY\x01\x00\xff\xff{}"])
def test_damaged_files_are_reported(tmp_path, content):
    (tmp_path / "x.npy").write_bytes(content)
    with pytest.raises(InputError, match=r"Could not read .*x\.npy"):
        read_npy(tmp_path / "x.npy")
