"""Decoded images kept on disk, so that only the first use of a data set decodes it.

One safetensors file per set below the cache folder, named by a hash of what the pixels depend on: the files they were
decoded from, the wanted size and channels, and the versions of the decoders. Files are written whole under another name
and renamed, so two processes that decode one set at once leave one good file, and a killed one leaves none.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import PIL
from safetensors import SafetensorError, safe_open

from ncfm._checks import NcfmError
from ncfm._files import best_effort, cache_dir, content_hash, read_tensors, write_tensors
from ncfm.data.images import ImageSet, ImageSplit

# Raised when decoding gives other pixels than before.
DECODER_VERSION = 1
HASHED_BYTES = 2**30  # sources up to this size are known by their content, larger ones by names, sizes and times


def source_key(files: Iterable[Path], *options: Any) -> str:
    """A hash of the source files and of the options that decoding depends on.

    Files up to 1 GiB together are hashed whole (a second); of larger sources the paths, sizes and modification times
    count, as reading them twice would cost as much as decoding.
    """
    paths = sorted(files)
    stats = [path.stat() for path in paths]
    parts = [f"decoder {DECODER_VERSION}", f"pillow {PIL.__version__}", repr(options)]
    whole = sum(stat.st_size for stat in stats) <= HASHED_BYTES
    for path, stat in zip(paths, stats, strict=True):
        parts.append(str(path.resolve()) if not whole else "/".join(path.parts[-3:]))
        parts.append(_file_hash(path) if whole else f"{stat.st_size} {stat.st_mtime_ns}")
    return content_hash(*parts)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_set(key: str, name: str, decode: Callable[[], ImageSet]) -> ImageSet:
    """The set called ``name`` from the cache, or decoded now and kept there for the next time."""
    path = cache_dir() / "images" / f"{key}.safetensors"
    found = _read(path, name)
    if found is None:
        found = decode()
        with best_effort():
            _write(path, found)
    return found


def _read(path: Path, name: str) -> ImageSet | None:
    """A cached set; None if there is none that can be read: it is then decoded again."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads(file.metadata()["facts"])
        class_names, problems = (tuple(map(str, facts[key])) for key in ("class_names", "problems"))
        tensors = read_tensors(path)
        train, test = (
            ImageSplit.of(tensors[f"{split}.images"], tensors[f"{split}.labels"], len(class_names))
            if f"{split}.images" in tensors
            else None
            for split in ("train", "test")
        )
    except (NcfmError, SafetensorError, OSError, KeyError, TypeError, ValueError):
        return None
    return None if train is None else ImageSet(name, train, test, class_names, problems)


def _write(path: Path, images: ImageSet) -> None:
    tensors = {"train.images": images.train.images, "train.labels": images.train.labels}
    if images.test is not None:
        tensors |= {"test.images": images.test.images, "test.labels": images.test.labels}
    facts = {"class_names": list(images.class_names), "problems": list(images.problems)}
    write_tensors(path, tensors, {"facts": json.dumps(facts)})
