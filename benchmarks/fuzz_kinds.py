"""Readers of what is in memory or written on purpose: for each a function of `Choices`, which a file of bytes makes."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from safetensors.torch import load_file, save_file
from torch.utils.data import DataLoader, Dataset, IterableDataset

import ncfm
from benchmarks.choices import (
    ARRAYS,
    LABELS,
    ROWS,
    TENSORS,
    Choices,
    encoded,
    some_array,
    some_image,
    some_images,
    some_items,
    some_labels,
)
from ncfm._utils.files import content_hash
from ncfm._utils.launch import local_rank, world_size
from ncfm.data import images_of, load_images
from ncfm.data.image_set import ImageSet
from ncfm.formats.labelled import labelled_images
from ncfm.formats.reading import read_external
from ncfm.synthetic.folders import FACTS_FILE, IMAGES_FILE, LABELS_FILE
from ncfm.synthetic.synthetic_set import SyntheticSet

SPLITS = ("train", "test", "validation", "extra", "holdout", 3, "train test")
CELLS: tuple[Any, ...] = ({"bytes": encoded(), "path": None}, encoded(), b"", None, {"bytes": None, "path": "x.png"})
NAMES = ("train", "test", "val", "a", "b", "0", "images", "labels", "data", "n01440764", "extra", "CON", "ü", ".git")
FILES = ("0.png", "1.png", "x.csv", "train.csv", "labels.txt", "a.txt", "x.npz", "x.parquet", "words.txt", "wnids.txt")
TEXTS = (b"", b"image,label\n0.png,a\n1.png,b\n", b"label,p0,p1\n0,0,0\n1,255,0\n", b"\xff", b"n01440764\n")
ENTRIES: tuple[Any, ...] = (None, 0, 1, 2, 3, -1, 1.5, 2**30, 2**70, "2", "multi", "bounded", "single", "x", [], {})
NESTED: tuple[Any, ...] = (["a", "b", "c"], ["a"], ["a"] * 3, [1, 2, 3], {"mean": [0.5], "std": [0.0]}, [0, 1, 2], [{}])


def kinds(real: ImageSet, made: SyntheticSet, home: Path) -> dict[str, Callable[[Choices, Path], Any]]:
    """Readers by name. Each gets decisions, and an empty folder to write to."""
    ncfm.save(made, home / "good")
    return {
        "arrays": lambda c, _: images_of(_pair(c), _pair(c) if c.rarely() else None, **_options(c)),
        "items": lambda c, _: images_of(_dataset(c), **_options(c)),
        "splits": lambda c, _: images_of({c.of(SPLITS): _pair(c) for _ in range(3)}, **_options(c)),
        "images in memory": lambda c, _: labelled_images(_pair(c), real),
        "tensor files": lambda c, place: _read_tensor_file(c, place, real),
        "array files": lambda c, place: _read_array_file(c, place, real),
        "tables": lambda c, place: _read_table(c, place, real),
        "layouts": lambda c, place: load_images(str(_tree(c, place)), image_size=c.of((None, 8))),
        "archives": lambda c, place: load_images(str(_archive(c, place)), image_size=8),
        "changed sets": lambda c, place: _read_changed(c, place, home / "good"),
        "mosaics": lambda c, place: _read_mosaics(c, place, real),
        "launchers": lambda c, _: _read_environment(c),
    }


def _pair(c: Choices) -> tuple[Any, Any]:
    return some_images(c), some_labels(c)


def _options(c: Choices) -> dict[str, Any]:
    """Options of `images_of`."""
    names = c.of((None, None, None, ["a", "b", "c"], ["a", "a"], [], "abc", {}, [1, 2, 3], ["x"] * 2000))
    return {"class_names": names, "image_size": c.of((None, 8, 8, 4, 0)), "channels": c.of((None, 3, 1, 2, 0))}


class _Mapped(Dataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


class _Stream(IterableDataset[Any]):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __iter__(self) -> Iterator[Any]:
        return iter(self.items)


def _dataset(c: Choices) -> Any:
    """Items as a list, an iterator, a dataset or a loader."""
    items = list(some_items(c))
    how = c.of((list, iter, _Mapped, _Stream, tuple, "loader", "columns"))
    if how == "loader":
        return DataLoader(_Mapped(items), batch_size=c.of((2, 1, None)), shuffle=False, collate_fn=list)
    if how == "columns":
        return {"image": [some_image(c) for _ in range(ROWS)], "label": some_labels(c), "more": [1]}
    return how(items)


def _read_tensor_file(c: Choices, place: Path, real: ImageSet) -> Any:
    images, labels = some_array(c, TENSORS), some_array(c, TENSORS) if c.rarely() else torch.arange(ROWS) % 3
    parts = {"images": images, "labels": labels}
    if c.rarely():
        parts["probabilities"] = some_array(c, TENSORS)
    named = parts | {"class_names": c.of(NESTED)}
    whole = c.of((parts, (images, labels), [images, labels], {"data": [[images, labels]]}, images, named))
    path = place / c.of(("set.pt", "set.pt", "images_best.pt"))
    try:
        torch.save(whole, path)
        torch.save(labels, place / "labels_best.pt")
    except (RuntimeError, NotImplementedError, AttributeError):  # it cannot be saved either
        return None
    return read_external(path, real, normalized_by=c.of((None, None, "data", "none", "0.5,0.5"))).decoded()


def _read_array_file(c: Choices, place: Path, real: ImageSet) -> Any:
    keys = c.of((("images", "labels"), ("train_images", "train_labels"), ("x_train", "y_train"), ("arr_0", "arr_1")))
    arrays = [np.asarray(some_array(c, ARRAYS[3:])), np.asarray(c.of((np.arange(ROWS) % 3, some_array(c, ARRAYS[3:]))))]
    more = {"meta": np.array([{}], object)} if c.rarely() else {}
    np.savez(place / "set.npz", **dict(zip(keys, arrays, strict=True)), **more)
    if keys[0].startswith(("train", "x_train")):
        return load_images(str(place / "set.npz"))
    return read_external(place / "set.npz", real).decoded()


def _read_table(c: Choices, place: Path, real: ImageSet) -> Any:
    images = [c.of(CELLS) for _ in range(ROWS)]
    labels = c.of((list(range(3)) * 2, list("abc") * 2, [c.of(LABELS[:12]) for _ in range(ROWS)]))
    columns = {c.of(("image", "img", "x")): images, c.of(("label", "class", "y")): labels}
    if c.rarely():
        columns["probabilities"] = [c.of(([0.2, 0.3, 0.5], [], None, [1.0], ["a"])) for _ in range(ROWS)]
    try:
        table = pa.table(columns)
    except (pa.ArrowException, TypeError, OverflowError, ValueError):  # no such table
        return None
    facts = {"info": {"features": {"label": c.of(({"names": ["a", "b", "c"]}, {"names": 3}, {}, [], "x"))}}}
    found = {b"huggingface": json.dumps(c.of((facts, {}, [], None))), b"ncfm": json.dumps(_entries(c))}
    pq.write_table(table.replace_schema_metadata(found) if c.rarely() else table, place / "train.parquet")
    return load_images(str(place)) if c.below(2) else read_external(place, real).decoded()


def _tree(c: Choices, place: Path) -> Path:
    """Folders and files of images, tables and others."""
    for i in range(c.of((6, 8, 12, 0, 1))):
        split = c.of(("train", "test", *NAMES))
        folder = place.joinpath(split, *(c.of(("abc"[i % 3], *NAMES)) for _ in range(c.of((1, 2, 0)))))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / c.of(FILES)
            path.write_bytes(encoded() if path.suffix == ".png" and not c.rarely() else c.of(TEXTS))
        except OSError:  # a file is in the way
            continue
    return place


def _archive(c: Choices, place: Path) -> Path:
    """A tar or zip file with entries of any name and kind."""
    names = [
        f"{c.of(('train', 'test', '..', '/', 'a', ''))}/{c.of(('abc'[i % 3], 'a', 'b'))}/{i}.png" for i in range(ROWS)
    ]
    if c.below(2):
        with zipfile.ZipFile(place / "x.zip", "w") as packed:
            for name in names:
                packed.writestr(name, encoded() if not c.rarely() else c.of(TEXTS))
        return place / "x.zip"
    (place / "file").write_bytes(encoded())
    with tarfile.open(place / "x.tar", "w") as tar:
        for name in names:
            info = tar.gettarinfo(place / "file", name)
            info.type = c.of((tarfile.REGTYPE, tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE))
            with (place / "file").open("rb") as file:
                tar.addfile(info, file if info.isreg() else None)
    return place / "x.tar"


def _entries(c: Choices) -> dict[str, Any]:
    """Facts of a set, or of an export, some of them with other values."""
    known = ("format", "class_names", "factor", "mode", "bound", "normalized_by", "zca", "ipc", "counts", "statistics")
    names = (*known, "version", "facts", "scores", "soft_labels", "bits")
    return {c.of(names): c.of(ENTRIES + NESTED) for _ in range(c.of((0, 1, 2, 3)))}


def _read_changed(c: Choices, place: Path, good: Path) -> Any:
    """A set with other entries and other tensors, whose hashes are right."""
    folder = shutil.copytree(good, place / "set")
    facts = json.loads((folder / FACTS_FILE).read_text()) | _entries(c)
    if c.below(2):
        images = some_array(c, TENSORS)
        tensors = {"images": images, "labels": torch.arange(3).repeat_interleave(2)}
        if _saved(tensors, folder / IMAGES_FILE):
            facts["images_hash"] = content_hash(load_file(folder / IMAGES_FILE)["images"])
    if c.below(2):
        tensors = load_file(folder / LABELS_FILE) | {c.of(("values", "classes")): some_array(c, TENSORS)}
        if _saved(tensors, folder / LABELS_FILE):
            parts = [part for name in sorted(tensors) for part in (name, tensors[name])]
            facts["soft_labels"] = {"hash": content_hash(*parts)}
    (folder / FACTS_FILE).write_text(json.dumps(facts))
    found = ncfm.load(folder)
    soft = found.soft_labels
    return found.decoded(), found.storage, soft is not None and soft.log_probabilities()


def _saved(tensors: dict[str, torch.Tensor], path: Path) -> bool:
    """Whether tensors could be written."""
    try:
        content_hash(*tensors.values())
        save_file(tensors, path)
    except Exception:  # no such file exists
        return False
    return True


def _read_mosaics(c: Choices, place: Path, real: ImageSet) -> Any:
    """An export that records how its mosaics are decoded, of equal or unequal classes."""
    labels = torch.tensor([c.of((i % 3, 0, 1, 2, 7)) for i in range(ROWS)])
    facts = {"format": "ncfm-export", "class_names": list(real.class_names), "factor": 2, "mode": "multi", "bound": 9}
    content = {"images": torch.rand(ROWS, *real.train.images.shape[1:]), "labels": labels} | facts | _entries(c)
    if c.rarely():
        content["probabilities"] = torch.full((c.of((30, 24, 6, 1)), 3), 1 / 3)
    torch.save(content, place / "set.pt")
    return read_external(place / "set.pt", real, factor=c.of((None, None, 2, 0))).decoded()


def _read_environment(c: Choices) -> Any:
    values = ("1", "2", "", "abc", "-1", "0", "1e3", "١", "9" * 40, " 2 ", "127.0.0.1")
    for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
        os.environ[name] = c.of(values)
    try:
        return world_size(), local_rank(0)
    finally:
        for name in ("WORLD_SIZE", "RANK", "MASTER_ADDR", "MASTER_PORT", "LOCAL_RANK"):
            del os.environ[name]
