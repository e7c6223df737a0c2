"""A multilayer perceptron."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ncfm._utils.checks import check_at_least
from ncfm.networks.base import FeatureNetwork


class MLP(FeatureNetwork):
    """``depth`` hidden layers of ``width`` ReLU units on the pixels, then one linear layer.

    Args:
        channels: image channels c.
        num_classes: classes C.
        image_size: side of the square image in pixels.
        depth: number of hidden layers.
        width: units per hidden layer.

    Features: ``width``.

    Raises:
        NcfmError: for a depth or width below 1.

    Reference:
        Used with two layers of 128 by Zhao, Mopuri and Bilen, "Dataset Condensation with Gradient Matching", ICLR 2021.
    """

    def __init__(self, channels: int, num_classes: int, *, image_size: int, depth: int = 2, width: int = 128) -> None:
        super().__init__()
        check_at_least(depth, 1, "depth")
        check_at_least(width, 1, "width")
        pixels = channels * image_size**2
        layers: list[nn.Module] = []
        for index in range(depth):
            layers += [nn.Linear(pixels if index == 0 else width, width), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.num_features = width
        self.classifier = nn.Linear(width, num_classes)

    def forward_features(self, images: Tensor) -> Tensor:
        """Feature vectors of normalised images: (n, c, h, w) -> (n, d)."""
        features: Tensor = self.layers(torch.flatten(images, 1))
        return features
