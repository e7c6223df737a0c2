"""DD-Ranking itself takes what the export for it wrote: version 0.2.0, put in by `make test-slow`.

Its students are trained; its scores cannot be had, since `compute_metrics` of that version fails before it has them:
for hard labels it writes lists of different lengths as one table, for soft labels it asks a teacher that it lacks.

It imports torchvision, timm and kornia. Where they are missing they are replaced by as much of them as its metrics use
here: a CIFAR-10, two transforms. Everything else that runs is its own code.
"""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from unittest.mock import MagicMock

import pytest
import torch
from torch.testing import assert_close

from ncfm._utils.types import Statistics
from ncfm.data.levels import to_uint8
from ncfm.formats import export
from ncfm.synthetic.soft_labels import SoftLabels
from ncfm.synthetic.synthetic_set import SyntheticSet
from strategies import rng

NAMES = tuple(f"class {i}" for i in range(10))
PER_CLASS = 4

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ddranking") is None, reason="DD-Ranking is not installed"),
]


def colours() -> torch.Tensor:
    """Ten classes of images, each of a colour of its own, with noise: (10, 4, 3, 32, 32)."""
    means = torch.rand(10, 1, 3, 1, 1, generator=rng(3))
    noise = torch.randn(10, PER_CLASS, 3, 32, 32, generator=rng(4)) * 0.05
    return to_uint8((means + noise).clamp(0, 1)).float() / 255


class Cifar10:
    """In place of ``torchvision.datasets.CIFAR10``."""

    def __init__(self, root, train, download, transform):
        self.images, self.transform = colours().flatten(0, 1), transform
        self.targets = [i // PER_CLASS for i in range(len(self.images))]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index]), self.targets[index]


class Compose(list):
    def __init__(self, transforms):
        super().__init__(transforms)

    def __call__(self, image):
        for transform in self:
            image = transform(image)
        return image


def normalizing(mean, std):
    column = (-1, 1, 1)
    return lambda image: (image - torch.tensor(mean).view(column)) / torch.tensor(std).view(column)


@pytest.fixture
def metrics(monkeypatch, tmp_path):
    """Its module, with a CIFAR-10 of ours."""
    for name in ("timm", "kornia"):
        if importlib.util.find_spec(name) is None:
            monkeypatch.setitem(sys.modules, name, MagicMock(name=name))
    transforms, datasets = ModuleType("torchvision.transforms"), MagicMock(name="torchvision.datasets")
    transforms.Compose, transforms.Normalize = Compose, normalizing
    transforms.ToTensor = lambda: lambda image: image
    transforms.v2 = MagicMock()
    datasets.CIFAR10 = Cifar10
    datasets.ImageFolder = type("ImageFolder", (), {})
    torchvision = MagicMock(name="torchvision", transforms=transforms, datasets=datasets)
    for module, name in ((torchvision, ""), (transforms, ".transforms"), (datasets, ".datasets")):
        monkeypatch.setitem(sys.modules, "torchvision" + name, module)
    for name in [name for name in sys.modules if name.startswith("ddranking")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.chdir(tmp_path)
    return importlib.import_module("ddranking.metrics")


def exported(tmp_path, soft):
    """The test images themselves as a set, and its files: so what students learn is what they are asked."""
    said = None
    if soft:
        logits = 8 * torch.eye(10).repeat_interleave(PER_CLASS, 0)
        said = SoftLabels.of(torch.log_softmax(logits, 1))
    made = SyntheticSet(
        colours(), NAMES, Statistics((0.5,) * 3, (0.2,) * 3), factor=1, facts={"data": "cifar10"}, soft_labels=said
    )
    return export(made, tmp_path / "dd", to="ddranking").path


def made_as_told(folder, monkeypatch):
    """What the README's code has made before its last call: images, labels and the metric, with a short schedule."""
    code = "".join(line[4:] + "\n" for line in (folder / "README.md").read_text().splitlines() if line[:4] == "    ")
    making = code.split("metric.compute_metrics")[0].rstrip().removesuffix(")").rstrip().removesuffix(",")
    monkeypatch.chdir(folder)
    found = {}
    exec(making + ', device="cpu", num_workers=0, syn_batch_size=8, num_epochs=20)', found)
    torch.manual_seed(0)
    return found


def test_its_students_learn_the_exported_images(metrics, tmp_path, monkeypatch):
    found = made_as_told(exported(tmp_path, soft=False), monkeypatch)
    metric = found["metric"]
    # Its real images are ours as they were written, class by class.
    real = torch.stack([image for image, _ in metric.dst_train])
    assert_close(found["images"], real, atol=1e-6, rtol=0)
    assert found["labels"].tolist() == metric.dst_train.targets
    accuracy, _ = metric._compute_hard_label_metrics_helper(
        image_tensor=found["images"], image_path=None, hard_labels=found["labels"], lr=0.01, mode="syn"
    )
    assert accuracy >= 90  # percent


def test_its_students_learn_the_exported_soft_labels(metrics, tmp_path, monkeypatch):
    found = made_as_told(exported(tmp_path, soft=True), monkeypatch)
    accuracy, _ = found["metric"]._compute_soft_label_metrics_helper(
        image_tensor=found["images"], image_path=None, soft_labels=found["labels"], lr=0.01
    )
    assert accuracy >= 90
