"""Arrays and tensors for NumPy, PyTorch and DD-Ranking."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from ncfm._utils.files import write_text
from ncfm._utils.types import Statistics
from ncfm.data.normalization import normalize
from ncfm.formats.content import Content
from ncfm.formats.export_facts import export_facts
from ncfm.formats.png import write_index

# The statistics that DD-Ranking normalises its test images with (its documentation, "Datasets").
_CIFAR = Statistics((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
_IMAGENET = Statistics((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
DD_RANKING = {"cifar10": ("CIFAR10", _CIFAR), "cifar100": ("CIFAR100", _CIFAR)} | {
    "tiny-imagenet": ("TinyImageNet", _IMAGENET),
    "imagenet-1k": ("ImageNet1K", _IMAGENET),
    "imagenette": ("ImageNette", _IMAGENET),
    "imagewoof": ("ImageWoof", _IMAGENET),
    "imagefruit": ("ImageFruit", _IMAGENET),
    "imagemeow": ("ImageMeow", _IMAGENET),
    "imagesquawk": ("ImageSquawk", _IMAGENET),
    "imageyellow": ("ImageYellow", _IMAGENET),
}


def write_npz(content: Content, path: Path) -> None:
    """NumPy arrays, loadable without pickle.

    ``images`` (n, h, w, c), or (n, h, w) if grey, ``labels`` (n,) int64, ``mean`` and ``std`` of the real training
    split (c,), ``probabilities`` (n, C) float32 if there are soft labels, and the values of `export_facts`.
    """
    images = content.values.permute(0, 2, 3, 1).contiguous().numpy()
    statistics = content.synthetic.statistics
    arrays: dict[str, Any] = {
        "images": images[..., 0] if images.shape[-1] == 1 else images,
        "labels": content.labels.numpy(),
        "mean": np.array(statistics.mean, np.float32),
        "std": np.array(statistics.std, np.float32),
    } | {name: np.array(value) for name, value in export_facts(content).items()}
    if content.log_probabilities is not None:
        arrays["probabilities"] = content.log_probabilities.exp().numpy()
    with path.open("wb") as file:  # an open file, since NumPy appends .npz to a path
        np.savez(file, **arrays)


def write_pt(content: Content, path: Path) -> None:
    """A dictionary of tensors and plain values, for ``torch.load(path, weights_only=True)``.

    ``images`` (n, c, h, w), float32 in [0, 1] or uint8, ``labels`` (n,) int64, ``mean``, ``std``, ``probabilities``
    (n, C) if there are soft labels, and the values of `export_facts`.
    """
    statistics = content.synthetic.statistics
    saved: dict[str, Any] = {
        "images": content.values.contiguous(),
        "labels": content.labels,
        "mean": torch.tensor(statistics.mean),
        "std": torch.tensor(statistics.std),
    } | export_facts(content)
    if content.log_probabilities is not None:
        saved["probabilities"] = content.log_probabilities.exp()
    _save(saved, path)


def write_ddranking(content: Content, folder: Path) -> None:
    """``images.pt`` and ``labels.pt``, the arguments of DD-Ranking's ``compute_metrics``.

    Images (C * m, c, h, w), class by class, are normalised like its test images, or by the set's own statistics for
    data that it does not know. Labels are logits (C * m, C), to which it applies a softmax: here log-probabilities. A
    set without soft labels has class indices (C * m,).

    Reference:
        Li et al., "DD-Ranking: Rethinking the Evaluation of Dataset Distillation", 2025, arXiv 2505.13300.
    """
    synthetic = content.synthetic
    data = str(synthetic.facts.get("data", ""))
    name, statistics = DD_RANKING.get(data, (None, synthetic.statistics._replace(whitening=None)))
    soft = content.log_probabilities
    _save(normalize(content.images, statistics).contiguous(), folder / "images.pt")
    _save(content.labels if soft is None else soft, folder / "labels.pt")
    write_index(content, folder, normalized_by=statistics)
    use = _HARD if soft is None else _SOFT
    write_text(
        folder / "README.md",
        (use + _PIXELS).format(
            dataset=repr(name or "..."),
            ipc=round(len(content.images) / synthetic.num_classes),
            size=content.images.shape[-1],
            mean=", ".join(f"{v:g}" for v in statistics.mean),
            std=", ".join(f"{v:g}" for v in statistics.std),
        ),
    )


def _save(value: object, path: Path) -> None:
    with path.open("wb") as file:  # an open file, since a path's name would become part of the bytes
        torch.save(value, file)


_HARD = """# For DD-Ranking

    import torch
    from ddranking.metrics import LabelRobustScoreHard

    images, labels = (torch.load(name, weights_only=True) for name in ("images.pt", "labels.pt"))
    metric = LabelRobustScoreHard(
        dataset={dataset}, ipc={ipc}, im_size=({size}, {size}), eval_full_data=True,
        aug_params={{"beta": 1.0}}, lr_scheduler="cosineannealing",
    )
    metric.compute_metrics(image_tensor=images, hard_labels=labels)

The arguments on the last line of `metric` are needed because the defaults of version 0.2.0 are inconsistent. It
prints the accuracies, and then fails before its scores, as it writes lists of different lengths. `ncfm score` computes
the scores.
"""

_SOFT = """# For DD-Ranking

    import torch
    from ddranking.metrics import LabelRobustScoreSoft

    images, labels = (torch.load(name, weights_only=True) for name in ("images.pt", "labels.pt"))
    metric = LabelRobustScoreSoft(
        dataset={dataset}, ipc={ipc}, im_size=({size}, {size}), soft_label_mode="S", eval_full_data=True,
        loss_fn_kwargs={{}}, teacher_model_names=[], lr_scheduler="cosineannealing", random_data_format="tensor",
    )
    metric.compute_metrics(image_tensor=images, soft_labels=labels)

The arguments on the last line of `metric` are needed because the defaults of version 0.2.0 are inconsistent. It
prints the accuracies of this set, and then fails at the random images that it compares with, for which it needs a
teacher that it does not have in this mode. `ncfm score` computes the scores.
"""

_PIXELS = """
`ipc` is the number of training images per class after decoding (their rounded mean, if classes are unequal): DD-Ranking
draws as many random real images. Pixels are normalised by mean {mean} and standard deviation {std}.
"""
