"""Good files of the layouts that datasets are published in, to be damaged."""

from __future__ import annotations

import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from benchmarks.choices import encoded


def written(home: Path) -> dict[str, Path]:
    """Writes a file of every layout in a folder of its own; the file of each, by name."""
    found = {}
    for name, (file, write) in LAYOUTS.items():
        path = home / name / file
        path.parent.mkdir(parents=True)
        write(path)
        found[name] = path
    return found


def _npz(path: Path) -> None:
    images, labels = np.zeros((6, 8, 8), np.uint8), np.arange(6) % 3
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)


def _mat(path: Path) -> None:
    savemat(path, {"X": np.zeros((32, 32, 3, 6), np.uint8), "y": np.arange(6)[:, None] % 3 + 1})


def _cifar(path: Path) -> None:
    content = {b"data": np.zeros((6, 3072), np.uint8), b"fine_labels": [0, 1, 2, 0, 1, 2]}
    for name in ("train", "test"):
        path.with_name(name).write_bytes(pickle.dumps(content, protocol=2))
    path.with_name("meta").write_bytes(pickle.dumps({b"fine_label_names": [b"a", b"b", b"c"]}, protocol=2))


def _pixels(path: Path) -> None:
    lines = ["label," + ",".join(f"pixel{i}" for i in range(16)), *(f"{i % 3}," + "0," * 15 + "7" for i in range(6))]
    path.write_text("\n".join(lines))


def _names(path: Path) -> None:
    path.write_text("image,label\n" + "".join(f"{i}.png,{'abc'[i % 3]}\n" for i in range(6)))
    for i in range(6):
        path.with_name(f"{i}.png").write_bytes(encoded())


def _soft(path: Path) -> None:
    for name in ("cat", "dog", "emu"):
        (path.parent / name).mkdir()
        for i in range(2):
            (path.parent / name / f"{i}.png").write_bytes(encoded())
    if path.suffix == ".npy":
        np.save(path, np.full((6, 3), 1 / 3, np.float32))
    else:
        torch.save(torch.full((6, 3), 1 / 3), path)


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as packed:
        for i in range(6):
            packed.writestr(f"train/{'abc'[i % 3]}/{i}.png", encoded())


def _tar(path: Path) -> None:
    (path.parent / "file").write_bytes(encoded())
    with tarfile.open(path, "w:gz") as tar:
        for i in range(6):
            tar.add(path.parent / "file", f"train/{'abc'[i % 3]}/{i}.png")


LAYOUTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "npz of a dataset": ("x.npz", _npz),
    "MATLAB file": ("train_32x32.mat", _mat),
    "CIFAR-100 pickle": ("train", _cifar),
    "table of pixels": ("train.csv", _pixels),
    "table of names": ("train.csv", _names),
    "soft labels, npy": ("soft_labels.npy", _soft),
    "soft labels, pt": ("labels.pt", _soft),
    "zip": ("x.zip", _zip),
    "tar.gz": ("x.tar.gz", _tar),
}
