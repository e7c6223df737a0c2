"""Decoded images are kept: found again only for the very same files and options, and never half."""

from __future__ import annotations

import dataclasses
import errno
import mmap
import multiprocessing
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from ncfm._utils import files as _files
from ncfm._utils.checks import NcfmError
from ncfm._utils.files import cache_dir
from ncfm._utils.seeding import generator
from ncfm.data import assembly, cache, images_of, load_images, normalization, store
from ncfm.data import image_set as images_module
from ncfm.data.splitting import carve_validation, with_test_split


@pytest.fixture
def folder(tmp_path):
    """Two classes of three images of 4 px each, train and test."""
    root = tmp_path / "mine"
    draw = np.random.default_rng(0)
    for split in ("train", "test"):
        for label in ("cat", "dog"):
            (root / split / label).mkdir(parents=True)
            for i in range(3):
                pixels = draw.integers(0, 256, (4, 4, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / label / f"{i}.png")
    return root


@pytest.fixture
def decoded(monkeypatch):
    """How often something was decoded."""
    count = []
    decode = assembly.decode_all
    monkeypatch.setattr(assembly, "decode_all", lambda *a, **k: (count.append(1), decode(*a, **k))[1])
    return count


def files():
    place = cache_dir() / "images"
    return sorted(place.iterdir()) if place.is_dir() else []


def same(a, b):
    return (
        a.class_names == b.class_names
        and a.statistics == b.statistics
        and all(
            torch.equal(getattr(getattr(a, s), f), getattr(getattr(b, s), f))
            for s in ("train", "test")
            for f in ("images", "labels", "counts", "offsets")
        )
    )


def test_the_second_use_decodes_nothing_and_gives_the_same(folder, decoded):
    first = load_images(str(folder))
    assert len(decoded) == 2  # train and test
    second = load_images(str(folder))
    assert len(decoded) == 2
    assert same(first, second)
    assert len(files()) == 1
    second.train.images.clone().zero_()  # the tensors belong to the caller
    assert same(first, load_images(str(folder)))


def test_without_a_test_split(folder, decoded):
    first, second = (load_images(str(folder / "train")) for _ in range(2))
    assert len(decoded) == 1
    assert first.test is None
    assert second.test is None
    assert torch.equal(first.train.images, second.train.images)


@pytest.mark.parametrize("change", ["pixels", "new file", "removed", "renamed class", "empty class"])
def test_another_content_is_decoded_again(folder, decoded, change):
    load_images(str(folder))
    image = folder / "train" / "cat" / "0.png"
    before = image.stat()
    if change == "pixels":  # as large as before and, for a clock too coarse, as old
        Image.fromarray(255 - np.asarray(Image.open(image))).save(image)
        os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    elif change == "new file":
        (folder / "train" / "cat" / "9.png").write_bytes(image.read_bytes())
    elif change == "removed":
        image.unlink()
    elif change == "renamed class":
        for split in ("train", "test"):
            (folder / split / "cat").rename(folder / split / "horse")
    else:
        for split in ("train", "test"):
            (folder / split / "zebra").mkdir()
    decoded.clear()
    load_images(str(folder))
    assert decoded


def labels_by_level(images):
    """The class of each training image of `levels`, by its level of grey."""
    levels = images.train.images[:, 0, 0, 0].tolist()
    return {level: images.class_names[c] for level, c in zip(levels, images.train.labels.tolist(), strict=True)}


@pytest.fixture
def levels(tmp_path):
    """Two classes of three images below the same folders, each image of one level of grey."""
    root = tmp_path / "levels"
    for c, label in enumerate(("cat", "dog")):
        place = root / label / "2024" / "may"
        place.mkdir(parents=True)
        for i in range(3):
            Image.fromarray(np.full((4, 4), 10 * (3 * c + i), dtype=np.uint8)).save(place / f"{3 * c + i}.png")
    return root


@pytest.mark.parametrize("hashed_bytes", [2**30, 0])
@pytest.mark.parametrize("way", ["moved", "link moved", "exchanged"])
def test_a_moved_file_has_the_label_of_its_new_place(levels, monkeypatch, hashed_bytes, way):
    """Although content, size and time of every file stay, and the folders around it have the same names."""
    monkeypatch.setattr(cache, "HASHED_BYTES", hashed_bytes)
    cats, dogs = (levels / label / "2024" / "may" for label in ("cat", "dog"))
    if way == "link moved":
        elsewhere = (cats / "2.png").rename(levels.parent / "2.png")
        (cats / "2.png").symlink_to(elsewhere)
    before = labels_by_level(load_images(str(levels)))
    assert before == {0: "cat", 10: "cat", 20: "cat", 30: "dog", 40: "dog", 50: "dog"}
    if way == "exchanged":
        cats.rename(levels.parent / "other")
        dogs.rename(cats)
        (levels.parent / "other").rename(dogs)
        expected = {level: "dog" if label == "cat" else "cat" for level, label in before.items()}
    else:
        (cats / "2.png").rename(dogs / "2.png")
        expected = before | {20: "dog"}
    assert labels_by_level(load_images(str(levels))) == expected


@pytest.mark.parametrize("hashed_bytes", [2**30, 0])
def test_a_renamed_class_has_its_new_name(levels, monkeypatch, hashed_bytes):
    monkeypatch.setattr(cache, "HASHED_BYTES", hashed_bytes)
    load_images(str(levels))
    (levels / "cat").rename(levels / "wolf")
    after = labels_by_level(load_images(str(levels)))
    assert after == {0: "wolf", 10: "wolf", 20: "wolf", 30: "dog", 40: "dog", 50: "dog"}


@pytest.mark.parametrize("options", [{"image_size": 8}, {"channels": 1}])
def test_other_options_are_another_set(folder, decoded, options):
    load_images(str(folder))
    decoded.clear()
    assert load_images(str(folder), **options).train.images.shape[1:] != (3, 4, 4)
    assert decoded


def test_large_sources_are_known_by_size_and_time(folder, decoded, monkeypatch):
    monkeypatch.setattr(cache, "HASHED_BYTES", 0)
    monkeypatch.setattr(cache, "_file_hash", lambda path: pytest.fail("hashed"))
    load_images(str(folder))
    load_images(str(folder))
    assert len(decoded) == 2
    os.utime(folder / "train" / "cat" / "0.png", ns=(1, 1))
    load_images(str(folder))
    assert len(decoded) == 4


def test_the_folder_may_move(folder, decoded):
    first = load_images(str(folder))
    moved = folder.rename(folder.with_name("elsewhere"))
    assert same(load_images(str(moved)), first)
    assert len(decoded) == 2


@pytest.mark.parametrize("name", ["train.npy", "facts.json"])
@pytest.mark.parametrize("damage", ["cut", "foreign", "empty", "not ours", "gone"])
def test_a_damaged_file_is_decoded_again_and_replaced(folder, decoded, name, damage):
    mapped = load_images(str(folder))
    train = dataclasses.replace(mapped.train, images=mapped.train.images.clone())
    first = dataclasses.replace(mapped, train=train)  # not of the file that is damaged now
    (place,) = files()
    path = place / name
    whole = path.read_bytes()
    if damage == "gone":
        path.unlink()
    elif damage == "not ours":
        path.write_bytes(b"{}") if name.endswith("json") else np.save(path, np.zeros(3))
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "foreign": b"nothing of ours", "empty": b""}[damage])
    assert same(load_images(str(folder)), first)
    assert len(decoded) == 4
    assert path.read_bytes() == whole
    assert len(files()) == 1


def test_what_is_kept_is_mapped_and_known_without_reading_it(folder, monkeypatch):
    first = load_images(str(folder))
    expected = first.fingerprint, first.statistics
    monkeypatch.setattr(images_module, "content_hash", lambda *_: pytest.fail("read again"))
    monkeypatch.setattr(images_module, "channel_statistics", lambda *_: pytest.fail("read again"))
    second = load_images(str(folder))
    assert (second.fingerprint, second.statistics) == expected
    (place,) = files()
    second.train.images.zero_()  # a copy of the pages, not the file
    assert torch.equal(load_images(str(folder)).train.images, torch.from_numpy(np.load(place / "train.npy")))


def test_a_full_disk_is_no_failure(folder, decoded, monkeypatch):
    expected = load_images(str(folder))
    monkeypatch.setenv("NCFM_CACHE", str(folder.parent / "other"))

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store.os, "fsync", full)
    assert same(load_images(str(folder)), expected)
    assert files() == []


# --- more images than memory is to hold ---------------------------------------------------------------------


class Dataset(torch.utils.data.Dataset):
    """Images made from their number."""

    def __init__(self, size=60, side=8):
        self.size, self.side = size, side

    def __len__(self):
        return self.size

    def __getitem__(self, i):
        if not 0 <= i < self.size:
            raise IndexError(i)
        return np.full((self.side, self.side, 3), i, dtype=np.uint8), i % 5


@pytest.fixture
def small_memory(monkeypatch):
    monkeypatch.setattr(store, "HELD_BYTES", 100)
    monkeypatch.setattr(_files, "RESIDENT_LIMIT", 0)
    monkeypatch.setattr(normalization, "ROWS_AT_ONCE", 7)
    monkeypatch.setattr(store, "ROWS_AT_ONCE", 7)


def test_a_set_in_a_file_is_the_set_in_memory(monkeypatch, small_memory):
    beyond = images_of(Dataset())
    part, rest = carve_validation(beyond.train, 0.25, generator(0))
    validation = with_test_split(beyond, 0.25)
    assert list(cache_dir().rglob("*.npy")) == []  # nameless
    monkeypatch.undo()
    held = images_of(Dataset())
    assert _files._mappings
    assert torch.equal(beyond.train.images, held.train.images)
    assert held.train.images[:, 0, 0, 0].tolist() == [i for c in range(5) for i in range(c, 60, 5)]
    assert beyond.statistics == held.statistics
    assert beyond.fingerprint == held.fingerprint
    for a, b in zip((part, rest), carve_validation(held.train, 0.25, generator(0)), strict=True):
        assert torch.equal(a.images, b.images)
        assert torch.equal(a.labels, b.labels)
    assert torch.equal(validation.test.images, with_test_split(held, 0.25).test.images)


def test_pages_are_given_back_beyond_the_limit(monkeypatch, tmp_path):
    given_back = []
    monkeypatch.setattr(_files, "_resident_files", lambda: 1000)
    monkeypatch.setattr(_files, "_mappings", [SimpleNamespace(madvise=given_back.append)])
    _files.release_pages(1000)
    assert given_back == []
    _files.release_pages(999)
    assert given_back == [mmap.MADV_DONTNEED]


def test_rows_are_written_in_any_order_and_may_be_left_out(tmp_path):
    rows = store.ArrayFile(tmp_path / "x.npy", (6, 2, 3))
    for i in (3, 0, 5, 1, 4):
        rows.put(i, np.full((2, 3), i, dtype=np.uint8))
    images = rows.close([0, 1, 4, 5])
    assert images.shape == (4, 2, 3)
    assert images[:, 0, 0].tolist() == [0, 1, 4, 5]
    assert np.load(tmp_path / "x.npy").tolist() == images.tolist()
    assert (tmp_path / "x.npy").stat().st_size == 128 + 4 * 6


def test_an_abandoned_file_is_gone(monkeypatch, small_memory):
    class Broken(Dataset):
        def __getitem__(self, i):
            image, label = super().__getitem__(i)
            return (image if i < 40 else image[0, 0]), label

    with pytest.raises(NcfmError, match=r"expected the shape \(h, w\)"):
        images_of(Broken())
    assert list(cache_dir().rglob("*.npy")) == []


def test_a_cache_that_cannot_be_written_is_no_failure(folder, decoded, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NCFM_CACHE", str(tmp_path / "file"))
    first, second = (load_images(str(folder)) for _ in range(2))
    assert same(first, second)
    assert len(decoded) == 4


def _load(folder, cache_folder, start, answers):
    os.environ["NCFM_CACHE"] = cache_folder
    while time.time() < start:
        pass
    answers.put(load_images(folder).fingerprint)


@pytest.mark.slow
def test_two_processes_at_once(folder, own_cache):
    context = multiprocessing.get_context("spawn")
    answers = context.Queue()
    start = time.time() + 8  # both have imported everything by then
    workers = [context.Process(target=_load, args=(str(folder), str(own_cache), start, answers)) for _ in range(2)]
    for worker in workers:
        worker.start()
    assert answers.get(timeout=60) == answers.get(timeout=60) == load_images(str(folder)).fingerprint
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert len(files()) == 1
