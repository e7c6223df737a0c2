"""What people hand over in Python: images and labels of `ncfm.images_of`, and its refusals.

The images are the pictures 0 to 3; cats are 0 and 1, dogs 2 and 3. See `situation.Reads`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import datasets
import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import ncfm
from image_files import picture, stack
from situation import Reads, Refused, check, refused

NUMBERS, LABELS = [0, 1, 2, 3], [0, 0, 1, 1]
LEVELS = stack(NUMBERS)  # uint8 (n, 3, h, w)
UNIT = LEVELS / 255
NAMES = ["cat", "dog"]
ITEMS = [Image.fromarray(picture(n)) for n in NUMBERS]


class Once(IterableDataset):
    def __iter__(self):
        return iter(zip(ITEMS, LABELS, strict=True))


def hub_dataset(numbers: list[int] = NUMBERS) -> datasets.Dataset:
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})
    columns = {"image": [Image.fromarray(picture(n)) for n in numbers], "label": [n // 2 % 2 for n in numbers]}
    return datasets.Dataset.from_dict(columns, features=features)


class Row(NamedTuple):
    """A split as it is handed over, made when it is needed, and the right answer."""

    make: Callable[[], Any]
    answer: Reads | Refused
    names: list[str] | None = None


PLAIN = Reads({"0": [0, 1], "1": [2, 3]})
NAMED = Reads({"cat": [0, 1], "dog": [2, 3]})


def pair(images: Any, labels: Any = LABELS) -> Callable[[], Any]:
    return lambda: (images, labels)


TABLE = {
    # images
    "floats in [0, 1]": Row(pair(UNIT), PLAIN),
    "floats of 64 bits": Row(pair(UNIT.double()), PLAIN),
    "floats of NumPy, channels last": Row(pair(UNIT.permute(0, 2, 3, 1).numpy()), PLAIN),
    "integers from 0 to 255": Row(
        pair(LEVELS.long()), PLAIN._replace(said=("train: int64 pixels are taken as levels from 0 to 255",))
    ),
    "floats from 0 to 255": Row(pair(LEVELS.float()), refused("expected floats in [0, 1]", "divide them by 255")),
    "normalised floats": Row(
        pair((UNIT - 0.5) / 0.25), refused("expected floats in [0, 1]", "undo their normalisation (x * std + mean)")
    ),
    "floats slightly outside": Row(pair(UNIT * 1.02), refused("expected floats in [0, 1]", "clamp them to [0, 1]")),
    "NaN": Row(pair(UNIT / 0), refused("NaN or infinity", "clean or leave out such images")),
    "integers of 0 and 1": Row(pair((LEVELS > 127).long()), refused("at most 1", "multiply by 255 if 1 is white")),
    "Pillow images": Row(pair(ITEMS), PLAIN),
    # labels
    "labels (n, 1)": Row(pair(UNIT, np.array(LABELS)[:, None]), PLAIN),
    "scalars of NumPy": Row(pair(UNIT, [np.int32(label) for label in LABELS]), PLAIN),
    "names": Row(pair(UNIT, ["cat", "cat", "dog", "dog"]), NAMED),
    "one-hot labels": Row(
        pair(UNIT, np.eye(2)[LABELS]), PLAIN._replace(said=("train: one-hot labels of 2 classes are numbered",))
    ),
    "soft labels": Row(pair(UNIT, torch.full((4, 2), 0.5)), refused("got soft labels", "labels.argmax(1)")),
    "several labels of an image": Row(pair(UNIT, np.array([[1, 1]] * 4)), refused("multi-label")),
    "a label -1": Row(pair(UNIT, [0, 0, 1, -1]), refused("expected labels from 0, got -1 of image 3", "leave out")),
    "class names": Row(pair(UNIT), NAMED, NAMES),
    # datasets
    "a dataset of tensors": Row(lambda: TensorDataset(UNIT, torch.tensor(LABELS)), PLAIN),
    "an iterable dataset": Row(Once, PLAIN),
    "a loader": Row(
        lambda: DataLoader(TensorDataset(UNIT, torch.tensor(LABELS)), batch_size=3),
        PLAIN._replace(said=("train: the dataset of the loader is read in its own order, without batches",)),
    ),
    "a Dataset of Hugging Face": Row(hub_dataset, NAMED),
    "an IterableDataset of Hugging Face": Row(lambda: hub_dataset().to_iterable_dataset(), NAMED),
    "a DatasetDict": Row(
        lambda: datasets.DatasetDict({"train": hub_dataset(), "validation": hub_dataset([4, 7])}),
        NAMED._replace(test={"cat": [4], "dog": [7]}),
    ),
    "images alone": Row(lambda: UNIT, refused("expected a pair, images_of((images, labels))")),
}


@pytest.mark.parametrize("row", TABLE.values(), ids=TABLE.keys())
def test_situation(row):
    check(row.answer, lambda: ncfm.images_of(row.make(), class_names=row.names))
