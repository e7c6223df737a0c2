"""Distilled sets of other programs: the images, labels and soft labels that are read, or why nothing is.

The real data have three classes of colour images of 8 px: airplane, bird and cat. A set has two images of each.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor

from ncfm._utils.types import Statistics
from ncfm.data.levels import to_float
from ncfm.data.normalization import normalize
from ncfm.data.whitening import zca
from ncfm.formats import export
from ncfm.formats.reading import read_external
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from sets import real_images
from situation import Refused, check_refusal, refused
from strategies import rng

NAMES = ("airplane", "bird", "cat")
REAL = real_images(NAMES, channels=3)
LEVELS = torch.randint(0, 256, (6, 3, 8, 8), dtype=torch.uint8, generator=rng(0))
PIXELS = to_float(LEVELS)
LABELS = torch.tensor([0, 0, 1, 1, 2, 2])
LOGITS = 3 * torch.randn(6, 3, generator=rng(1)) + 1
PROBABILITIES = LOGITS.softmax(1)
CIFAR10 = Statistics((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Statistics((0.5,) * 3, (0.5,) * 3)
OURS = SyntheticSet(
    PIXELS.unflatten(0, (3, 2)),
    NAMES,
    HALF,
    factor=2,
    soft_labels=SoftLabels.of(torch.randn(24, 3, generator=rng(2)).log_softmax(1)),
)


class Reads(NamedTuple):
    """Training images in the order of their labels, soft labels as probabilities, and parts of the notes."""

    images: Tensor = PIXELS
    labels: Tensor = LABELS
    said: tuple[str, ...] = ()
    soft: Tensor | None = None


class Row(NamedTuple):
    """A situation: writes a set, and returns its path."""

    make: Callable[[Path], Path]
    answer: Reads | Refused
    options: dict[str, Any] = {}  # noqa: RUF012 - of `read_external`


# --- files --------------------------------------------------------------------------------------------------


def pt(images: Any, labels: Any = LABELS) -> Callable[[Path], Path]:
    """A pair of tensors in a file."""

    def make(root: Path) -> Path:
        torch.save((images, labels), root / "set.pt")
        return root / "set.pt"

    return make


def files(**tensors: Any) -> Callable[[Path], Path]:
    """A folder with a file for each tensor."""

    def make(root: Path) -> Path:
        for name, tensor in tensors.items():
            torch.save(tensor, root / f"{name}.pt")
        return root

    return make


def one_of(make: Callable[[Path], Path], name: str) -> Callable[[Path], Path]:
    return lambda root: make(root) / name


def class_folders(*names: str, images: Tensor = LEVELS) -> Callable[[Path], Path]:
    """A folder of two PNG files for each class, in this order."""

    def make(root: Path) -> Path:
        for number, image in enumerate(images):
            folder = root / names[number // 2]
            folder.mkdir(exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
        return root

    return make


def table(**columns: Any) -> Callable[[Path], Path]:
    """A parquet file."""

    def make(root: Path) -> Path:
        images = []
        for image in LEVELS:
            buffer = io.BytesIO()
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(buffer, "PNG")
            images.append({"bytes": buffer.getvalue(), "path": None})
        pq.write_table(pa.table({"image": images, "label": LABELS.tolist(), **columns}), root / "set.parquet")
        return root / "set.parquet"

    return make


def npz(**arrays: Any) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        np.savez(root / "set.npz", **arrays)
        return root / "set.npz"

    return make


def ours(to: str, suffix: str, *, stored: bool = False) -> Callable[[Path], Path]:
    return lambda root: export(OURS, root / f"ours{suffix}", to=to, stored=stored).path


def one_at(value: float) -> Tensor:
    images = PIXELS.clone()
    images[3, 1, 2, 2] = value
    return images


def whitened() -> Tensor:
    plain = Statistics((0.0,) * 3, (1.0,) * 3)
    return normalize(PIXELS, plain._replace(whitening=zca(REAL.train.images, plain)))


def spread(low: float, high: float) -> Tensor:
    return PIXELS * (high - low) + low


DC = {"data": [[PIXELS, LABELS], [1 - PIXELS, LABELS]], "accs_all_exps": {"ConvNet": [np.float64(0.42)]}}
ASKED = refused("expected floats in [0, 1]", "Name their normalisation: --normalized-by cifar10")
SAID = ("labels are probabilities",)
EPOCHS = ("FKD_cutmix_fp16/epoch_0", "FKD_cutmix_fp16/epoch_1")


def labels_by_epoch(root: Path) -> Path:
    for name in EPOCHS:
        (root / name).mkdir(parents=True)
    return root / "FKD_cutmix_fp16"


def in_archive(root: Path) -> Path:
    (root / "set.zip").touch()
    return root / "set.zip"


TILES, TILE_LABELS = OURS.decoded()
SOFT_OF_OURS = OURS.soft_labels.log_probabilities().exp()
REVERSED = Reads(PIXELS[[4, 5, 2, 3, 0, 1]], LABELS)

# --- the table ----------------------------------------------------------------------------------------------

TABLE = {
    # pixels
    "8-bit pixels": Row(pt(LEVELS), Reads()),
    "floats in [0, 1]": Row(pt(PIXELS), Reads()),
    "one pixel at 1.01": Row(
        pt(one_at(1.01)),
        Reads(one_at(1.0), said=("0.087 % of the values lie outside [0, 1] by at most 0.01; they are clamped",)),
    ),
    "pixels from -0.2 to 1.2": Row(pt(spread(-0.2, 1.2)), ASKED),
    "pixels from -0.2 to 1.2, said": Row(
        pt(spread(-0.2, 1.2)),
        Reads(spread(-0.2, 1.2), said=("lie outside [0, 1], from -0.20 to 1.20, and are kept",)),
        {"normalized_by": "none"},
    ),
    "normalised by (.5, .5)": Row(pt(normalize(PIXELS, HALF)), ASKED),
    "normalised by (.5, .5), said": Row(
        pt(normalize(PIXELS, HALF)), Reads(said=("normalisation of half is undone",)), {"normalized_by": "half"}
    ),
    "normalised as DC does": Row(pt(normalize(PIXELS, CIFAR10)), ASKED),
    "normalised as DC does, said": Row(
        pt(normalize(PIXELS, CIFAR10)), Reads(said=("of cifar10 is undone",)), {"normalized_by": "cifar10"}
    ),
    "ImageNet's numbers, said": Row(
        pt(normalize(PIXELS, IMAGENET)), Reads(said=("of imagenet is undone",)), {"normalized_by": "imagenet"}
    ),
    "the mean subtracted": Row(pt(PIXELS - 0.45), ASKED),
    "the mean subtracted, said": Row(
        pt(PIXELS - 0.45), Reads(said=("of 0.45,1 is undone",)), {"normalized_by": "0.45,1"}
    ),
    "ZCA": Row(pt(whitened()), ASKED),
    "ZCA, said": Row(pt(whitened()), Reads(said=("ZCA map of real is undone",)), {"normalized_by": "zca"}),
    "undone already": Row(pt(one_at(1.3)), ASKED),
    "undone already, said": Row(pt(one_at(1.3)), Reads(one_at(1.3), said=("and are kept",)), {"normalized_by": "none"}),
    "floats from 0 to 255": Row(pt(LEVELS.float()), Reads(said=("values up to 255 are taken as levels of 255",))),
    "NaN": Row(pt(one_at(float("nan"))), refused("1 value that is not finite", "clean or drop")),
    "no such normalisation": Row(
        pt(PIXELS), refused("Unknown normalisation 'cifar'. Did you mean 'cifar10'?"), {"normalized_by": "cifar"}
    ),
    # published forms
    "DC, DSA, DM: res_*.pt": Row(
        one_of(files(res_DC=DC), "res_DC.pt"), Reads(said=("the first of its 2 sets is read",))
    ),
    "MTT: a pair of files": Row(
        files(images_best=PIXELS, labels_best=LABELS), Reads(said=("the labels are those of labels_best.pt",))
    ),
    "DATM: a pair of files with logits": Row(
        one_of(files(images_best=PIXELS, labels_best=LOGITS), "images_best.pt"),
        Reads(
            labels=LOGITS.argmax(1),
            said=("the labels are those of labels_best.pt", "labels are taken as logits"),
            soft=PROBABILITIES,
        ),
    ),
    "two sets in one folder": Row(
        files(images_best=PIXELS, labels_best=LABELS, images_zca=PIXELS, labels_zca=LABELS),
        refused("found images_best.pt, images_zca.pt; give the path of one of them"),
    ),
    "DD-Ranking: a folder": Row(
        files(images=PIXELS, labels=LABELS, soft_labels=LOGITS),
        Reads(said=("those of labels.pt and soft_labels.pt", "labels are taken as logits"), soft=PROBABILITIES),
    ),
    "soft labels as probabilities": Row(
        npz(images=PIXELS.numpy(), labels=LABELS.numpy(), probabilities=PROBABILITIES.numpy()),
        Reads(said=SAID, soft=PROBABILITIES),
    ),
    "soft labels in a table": Row(
        table(probabilities=PROBABILITIES.tolist()),
        Reads(said=(*SAID, "0 is airplane, 1 is bird, 2 is cat"), soft=PROBABILITIES),
    ),
    "RDED: folders of numbers": Row(
        class_folders("00000", "00001", "00002"), Reads(said=("00000 is airplane, 00001 is bird",))
    ),
    "SRe2L: folders of numbers": Row(class_folders("new000", "new001", "new002"), Reads(said=("new000 is airplane",))),
    "SRe2L: labels of every epoch": Row(labels_by_epoch, refused("FKD", "Give the folder of the images")),
    # classes and sizes
    "folders of names": Row(class_folders(*NAMES), Reads()),
    "names in another order": Row(
        npz(images=LEVELS.numpy(), labels=LABELS.numpy(), class_names=np.array(NAMES[::-1])),
        REVERSED._replace(said=("in another order than those of real; they are matched by name",)),
    ),
    "an unknown class": Row(
        class_folders("airplane", "bird", "frog"), refused("missing from real: frog", "Known: airplane")
    ),
    "a missing class": Row(
        class_folders("airplane", "cat", images=LEVELS[:4]),
        Reads(PIXELS[:4], torch.tensor([0, 0, 2, 2]), ("1 of 3 classes have no images: bird",)),
    ),
    "another size": Row(
        class_folders(*NAMES, images=LEVELS[..., :6, :6]),
        refused("expected images of shape (n, 3, 8, 8)", "data.image_size=6"),
    ),
    "another size, as arrays": Row(
        npz(images=LEVELS[..., :6, :6].numpy(), labels=LABELS.numpy()), refused("(n, 3, 8, 8)", "data.image_size=6")
    ),
    "labels of more classes": Row(pt(PIXELS, LABELS + 1), refused("0..2 for 3 classes, got 1..3")),
    # mosaics and our own exports
    "mosaics of another program": Row(pt(PIXELS), Reads(TILES, TILE_LABELS), {"factor": 2}),
    "our pt": Row(ours("pt", ".pt"), Reads(TILES, TILE_LABELS, SAID, SOFT_OF_OURS)),
    "our npz": Row(ours("npz", ".npz"), Reads(TILES, TILE_LABELS, SAID, SOFT_OF_OURS)),
    "our parquet": Row(ours("parquet", ".parquet"), Reads(TILES, TILE_LABELS, SAID, SOFT_OF_OURS)),
    "our hf": Row(ours("hf", ""), Reads(TILES, TILE_LABELS, SAID, SOFT_OF_OURS)),
    "our mosaics as stored": Row(ours("npz", ".npz", stored=True), Reads(TILES, TILE_LABELS)),
    "our mosaics with a factor": Row(
        ours("npz", ".npz", stored=True), refused("records factor 2; leave out factor 3"), {"factor": 3}
    ),
    # paths
    "an archive": Row(in_archive, refused("is an archive; unpack it")),
    "no such file": Row(lambda root: root / "set.pt", refused("Expected a set at {}/set.pt, but there is none")),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_situation(row, tmp_path):
    place, answer = row.make(tmp_path), row.answer
    if isinstance(answer, Refused):
        check_refusal(answer, lambda: read_external(place, REAL, **row.options), tmp_path)
        return
    found = read_external(place, REAL, **row.options)
    images, labels = found.decoded()
    order = labels.argsort(stable=True)
    wanted = answer.labels.argsort(stable=True)
    assert labels[order].tolist() == answer.labels[wanted].tolist()
    torch.testing.assert_close(images[order], answer.images[wanted], atol=1 / 500, rtol=0)
    assert len(found.notes) == len(answer.said), found.notes
    for part in answer.said:
        assert part in " ".join(found.notes)
    assert (found.soft_labels is None) == (answer.soft is None)
    if answer.soft is not None:
        soft = found.soft_labels.log_probabilities().exp()
        torch.testing.assert_close(soft[order], answer.soft[wanted], atol=2e-3, rtol=0)
