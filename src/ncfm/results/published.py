"""Accuracies reported in papers, for comparison. They are the best of many test evaluations during training.

Reference:
    Wang et al., "Dataset Distillation with Neural Characteristic Function: A Minmax Perspective", CVPR 2025,
    arXiv 2502.20653.
"""

from __future__ import annotations

NCFM: dict[tuple[str, int, str], float] = {
    **{("cifar10", ipc, "convnet"): value for ipc, value in ((1, 49.5), (10, 71.8), (50, 77.4))},
    **{("cifar100", ipc, "convnet"): value for ipc, value in ((1, 34.4), (10, 48.7), (50, 54.7))},
    **{("tiny-imagenet", ipc, "convnet"): value for ipc, value in ((1, 18.2), (10, 26.8), (50, 29.6))},
    **{("imagenette", ipc, "convnet"): value for ipc, value in ((1, 53.4), (10, 77.6))},
    **{("imagewoof", ipc, "convnet"): value for ipc, value in ((1, 27.2), (10, 48.4))},
    **{("imagefruit", ipc, "convnet"): value for ipc, value in ((1, 29.2), (10, 44.8))},
    **{("imagemeow", ipc, "convnet"): value for ipc, value in ((1, 34.6), (10, 58.2))},
    **{("imagesquawk", ipc, "convnet"): value for ipc, value in ((1, 41.6), (10, 72.8))},
    **{("imageyellow", ipc, "convnet"): value for ipc, value in ((1, 46.6), (10, 74.2))},
    **{("cifar10", 10, network): value for network, value in (("alexnet", 67.9), ("vgg11", 68.0), ("resnet18", 67.7))},
    **{("cifar10", 50, network): value for network, value in (("alexnet", 75.5), ("vgg11", 75.5), ("resnet18", 73.8))},
}
"""Top-1 accuracy in percent by data, images per class and network, of sets distilled with a ConvNet (Tables 1 to 3)."""


def published(data: str | None, ipc: float | None, network: str) -> float | None:
    """Accuracy in percent that the paper reports for NCFM with this evaluation network; None if it reports none."""
    family = "convnet" if network.removeprefix("convnet").removesuffix("-instance").isdigit() else network
    whole = int(ipc) if ipc is not None and ipc == int(ipc) else 0  # no paper has unequal classes
    return NCFM.get((data or "", whole, family.removesuffix("-instance")))


ABLATIONS: dict[tuple[str, str], float] = {
    **dict.fromkeys((("minmax", "learned"), ("alpha", "alpha=0.5"), ("discrepancy", "ncfd")), 71.8),
    ("minmax", "without min-max"): 68.3,
    ("alpha", "alpha=1"): 69.5,
    ("alpha", "alpha=0"): 70.1,
    ("discrepancy", "mmd"): 66.5,
}
"""Top-1 accuracy in percent on CIFAR-10 with ten images per class, by ablation and variant."""
