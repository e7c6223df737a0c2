"""Cache of decoded images on disk: a dataset is decoded only once.

Each dataset has a folder whose name is a hash of everything that the pixels depend on: the source files, the requested
size and channels, and the versions of the decoders. The folder holds a .npy file per split, sorted by class, and a JSON
file of facts. It is filled under a temporary name and then renamed, so that concurrent processes leave one complete
folder and a killed process leaves none. Images are decoded directly into the file and memory-mapped: a dataset may be
larger than memory.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import PIL
import torch

from ncfm._utils.cache import CacheEntry
from ncfm._utils.checks import RunError
from ncfm._utils.files import content_hash, map_array, read_json, temporary_name, write_json
from ncfm._utils.types import Statistics
from ncfm.data.image_set import ImageSet, ImageSplit
from ncfm.data.store import ArrayFile, NewRows, in_memory

FACTS_FILE = "facts.json"
# Incremented when decoding gives other pixels than before.
DECODER_VERSION = 4
HASHED_BYTES = 2**30  # sources up to this size are hashed by content, larger ones by names, sizes and times


def source_key(files: Iterable[Path], *options: Any, root: Path | None = None) -> str:
    """A hash of the source files and of the options that decoding depends on.

    Sources up to 1 GiB are hashed by content, which takes about a second. Larger sources are hashed by paths, sizes and
    modification times: reading them twice would take as long as decoding.

    Args:
        files: that the pixels depend on.
        options: what else they depend on.
        root: a folder in which the place of a file is its label. The path of each file below it, as it stands and not
            where a link leads, is part of the hash: a file that is moved to another class changes its label only.
    """
    paths = sorted(files)
    stats = [path.stat() for path in paths]
    parts = [f"decoder {DECODER_VERSION}", f"pillow {PIL.__version__}", repr(options)]
    if root is not None:
        parts += [path.relative_to(root).as_posix() for path in paths]
    whole = sum(stat.st_size for stat in stats) <= HASHED_BYTES
    for path, stat in zip(paths, stats, strict=True):
        parts.append(str(path.resolve()) if not whole else "/".join(path.parts[-3:]))
        parts.append(_file_hash(path) if whole else f"{stat.st_size} {stat.st_mtime_ns}")
    return content_hash(*parts)


def _file_hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_set(key: str, name: str, decode: Callable[[Callable[[str], NewRows]], ImageSet]) -> ImageSet:
    """The dataset called ``name`` from the cache, memory-mapped; it is decoded first if it is not there.

    If the cache folder cannot be written, the dataset is decoded into memory.

    Args:
        key: of `source_key`.
        name: of the dataset.
        decode: decodes it, given the storage of each split.
    """
    entry, parse = CacheEntry("images", key), partial(_parse, name=name)
    found = entry.read(parse)
    if found is not None:
        return found
    try:
        entry.folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return decode(in_memory)
    place = temporary_name(entry.path)
    try:
        decoded = decode(lambda split: partial(ArrayFile, place / f"{split}.npy"))
        _write_facts(place, decoded)
        if entry.read(parse) is None:
            shutil.rmtree(entry.path, ignore_errors=True)  # damaged
        with contextlib.suppress(OSError):  # another process was first: the same content
            place.rename(entry.path)
        return entry.read(parse) or decoded
    except RunError:  # the disk is full
        return decode(in_memory)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _parse(entry: CacheEntry, name: str) -> ImageSet:
    """A cached dataset, its images mapped from their files."""
    facts = read_json(entry.path / FACTS_FILE)
    class_names, problems = (tuple(map(str, facts[key])) for key in ("class_names", "problems"))
    splits = {}
    for split, counts in facts["counts"].items():
        images = map_array(entry.path / f"{split}.npy")
        labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
        splits[split] = ImageSplit.of(images, labels, len(class_names))
    found = ImageSet(name, splits["train"], splits.get("test"), class_names, problems)
    # Stored, so that not all pixels have to be read again.
    vars(found).update(
        fingerprint=str(facts["fingerprint"]),
        statistics=Statistics(tuple(facts["statistics"][0]), tuple(facts["statistics"][1])),
    )
    return found


def _write_facts(folder: Path, images: ImageSet) -> None:
    splits = {"train": images.train} | ({} if images.test is None else {"test": images.test})
    facts = {
        "class_names": list(images.class_names),
        "problems": list(images.problems),
        "counts": {name: split.counts.tolist() for name, split in splits.items()},
        "fingerprint": images.fingerprint,
        "statistics": [list(values) for values in images.statistics[:2]],
    }
    write_json(folder / FACTS_FILE, facts)
