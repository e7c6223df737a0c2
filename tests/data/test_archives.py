"""Archives of folders: what is in them is read, and nothing is written outside the cache."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from image_files import png, stack
from ncfm._utils.checks import InputError, RunError
from ncfm.data import archives, load_images

FILES = {f"{split}/{name}/{n}.png": n for n, (split, name) in enumerate([("train", "cat"), ("train", "dog")] * 2)} | {
    "test/cat/4.png": 4,
    "test/dog/5.png": 5,
}


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    kind = {".gz": "gz", ".tgz": "gz", ".bz2": "bz2", ".xz": "xz"}.get(path.suffix, "")
    with tarfile.open(path, f"w:{kind}") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def write(path: Path, files: dict[str, bytes]) -> Path:
    return (write_zip if path.suffix == ".zip" else write_tar)(path, files)


def pictures(below: str = "") -> dict[str, bytes]:
    return {f"{below}{name}": png(number) for name, number in FILES.items()}


def check(images):
    assert images.class_names == ("cat", "dog")
    assert torch.equal(images.train.images, stack([0, 2, 1, 3]))
    assert torch.equal(images.test.images, stack([4, 5]))


@pytest.mark.parametrize("suffix", [".zip", ".ZIP", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz"])
@pytest.mark.parametrize("below", ["", "pets/", "a/b/"])
def test_archives_of_class_folders(tmp_path, suffix, below):
    path = tmp_path / f"pets{suffix}"
    write_zip(path, pictures(below)) if suffix == ".ZIP" else write(path, pictures(below))
    images = load_images(str(path))
    check(images)
    assert images.layout.endswith("in an archive")
    assert images.problems == ()


def test_the_only_archive_of_a_folder_is_read(tmp_path):
    write(tmp_path / "pets.zip", pictures("pets/"))
    (tmp_path / "readme.txt").write_text("photos")
    check(load_images(str(tmp_path)))
    write(tmp_path / "more.tar", pictures())
    with pytest.raises(
        InputError, match=r"has several archives: more\.tar, pets\.zip; pass the path of one of them, or"
    ):
        load_images(str(tmp_path))


def test_archives_in_an_archive_are_refused(tmp_path):
    """As the training images of ImageNet come."""
    inner = {f"n0{c}.tar": write(tmp_path / f"n0{c}.tar", {"0.JPEG": png(c)}).read_bytes() for c in range(2)}
    with pytest.raises(InputError, match=r"several archives: n00\.tar, n01\.tar; .* unpack each into a folder"):
        load_images(str(write(tmp_path / "train.tar", inner)))


def test_an_archive_next_to_class_folders_is_left_unread(tmp_path):
    for name, data in pictures().items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    write(tmp_path / "pets.zip", pictures())
    images = load_images(str(tmp_path))
    check(images)
    assert images.problems == ("train: 1 file left unread: 1 .zip",)


def test_an_archive_is_unpacked_once(tmp_path, monkeypatch):
    path = write(tmp_path / "pets.zip", pictures())
    check(load_images(str(path)))
    monkeypatch.setattr(archives, "_unpack", None)
    check(load_images(str(path), channels=3))


def test_what_programs_leave_in_archives_is_left_out(tmp_path):
    litter = {"__MACOSX/train/cat/._0.png": b"x", "train/.DS_Store": b"x", "train/cat/._0.png": b"x"}
    check(load_images(str(write(tmp_path / "pets.zip", pictures() | litter))))


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png"])
@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_paths_that_lead_out_are_refused(tmp_path, own_cache, name, suffix):
    path = write(tmp_path / f"pets{suffix}", pictures() | {name: png(9)})
    with pytest.raises(InputError, match="which may lead out of the archive; refused"):
        load_images(str(path))
    assert not list((own_cache / "archives").iterdir())  # nothing stays, not even the images before it
    assert not list(tmp_path.rglob("out.png"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE])
def test_links_and_devices_are_refused(tmp_path, kind):
    path = tmp_path / "pets.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("train/cat/0.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(InputError, match=r"'train/cat/0\.png' that is a link or not a file; unpack it"):
        load_images(str(path))


def test_links_in_zip_files_are_refused(tmp_path):
    info = zipfile.ZipInfo("train/cat/0.png")
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "pets.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputError, match="that is a link or not a file"):
        load_images(str(tmp_path / "pets.zip"))


@pytest.mark.parametrize("suffix", [".zip", ".tar.gz"])
def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, own_cache, monkeypatch, suffix):
    path = write(tmp_path / f"x{suffix}", {"a/0.png": bytes(5 * 2**20)})
    assert path.stat().st_size < 2**15
    monkeypatch.setattr(archives, "MOST_BYTES", 2**22)
    with pytest.raises(InputError, match=r"unpacks to more than 0\.00391 GiB; unpack it yourself"):
        load_images(str(path))
    monkeypatch.setattr(archives, "MOST_BYTES", 2**35)
    monkeypatch.setattr(archives, "MOST_FILES", 1)
    with pytest.raises(InputError, match="has more than 1 files; unpack it and pass the folder"):
        load_images(str(write(path, pictures())))
    assert not list((own_cache / "archives").iterdir())


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz"])
def test_damaged_archives_are_named(tmp_path, suffix):
    path = write(tmp_path / f"pets{suffix}", pictures())
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(InputError, match=r"Could not unpack .*pets\."):
        load_images(str(path))
    path.write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"Could not unpack .*pets\."):
        load_images(str(path))


def test_encrypted_archives_are_named(tmp_path):
    path = write(tmp_path / "pets.zip", {"train/cat/0.png": png(0)})
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + offset] |= 1  # the bit of an encrypted file
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"Could not unpack .*password"):
        load_images(str(path))


def test_a_cache_that_cannot_be_written_is_another_error(tmp_path, monkeypatch):
    path = write(tmp_path / "pets.zip", pictures())
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path / "file"))
    with pytest.raises(RunError, match="Could not write"):
        load_images(str(path))
