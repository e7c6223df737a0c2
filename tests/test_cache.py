"""Decoded images are kept: found again only for the very same files and options, and never half."""

from __future__ import annotations

import multiprocessing
import os
import time

import numpy as np
import pytest
import torch
from PIL import Image

from ncfm._files import cache_dir
from ncfm.data import cache, load_images, sources


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
    decode = sources.decode_all
    monkeypatch.setattr(sources, "decode_all", lambda *a, **k: (count.append(1), decode(*a, **k))[1])
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


@pytest.mark.parametrize("damage", ["cut", "foreign", "empty", "not ours"])
def test_a_damaged_file_is_decoded_again_and_replaced(folder, decoded, damage):
    first = load_images(str(folder))
    (path,) = files()
    whole = path.read_bytes()
    if damage == "not ours":
        from safetensors.torch import save_file

        save_file({"x": torch.zeros(1)}, path)
    else:
        path.write_bytes({"cut": whole[: len(whole) // 2], "foreign": b"no tensors at all", "empty": b""}[damage])
    assert same(load_images(str(folder)), first)
    assert len(decoded) == 4
    assert files()[0].read_bytes() == whole


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
